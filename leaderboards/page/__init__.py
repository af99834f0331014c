"""A run as one offline HTML page: table, plots, heat map and transcripts."""

from greaves.leaderboards.page.html import write_page
from greaves.leaderboards.page.plots import nsi_plot, trade_off_plot, write_plot

__all__ = ["nsi_plot", "trade_off_plot", "write_page", "write_plot"]
