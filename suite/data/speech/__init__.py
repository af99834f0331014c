"""Speech: clips in (load, resample, check), voices out (text-to-speech)."""
