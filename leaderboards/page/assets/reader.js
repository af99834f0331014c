const BATCH = 20;
const reader = { accepted: false, names: null, group: null, waiting: [] };
let stored = null;

// Parsed when first needed: it is most of the page.
function transcripts() {
  stored ??= JSON.parse(byId("transcript-data").textContent);
  return stored;
}

function openReader(names) {
  const group = transcripts().groups.find(
    (one) => one.model === names.model && one.method === names.method && one.task === names.task,
  );
  if (!group) return;
  Object.assign(reader, { names, group });
  byId("reader-title").textContent = visible(`${names.method} on ${names.model}: ${names.task}`);
  const warn = group.kind === "harmful" && !reader.accepted;
  byId("warning").hidden = !warn;
  byId("transcripts").hidden = true;
  byId("reader").showModal();
  if (warn) byId("accept").focus();
  else showTranscripts();
}

function showTranscripts() {
  byId("warning").hidden = true;
  byId("transcripts").hidden = false;
  const { texts, questions } = transcripts();
  const items = reader.group.items;
  const outcomes = unique(items.flatMap(([, responses]) => responses.flatMap((one) => verdictsOf(one).map((said) => said[1]))));
  const categories = unique(items.map(([question]) => texts[questions[question][3]])).sort();
  fillSelect(byId("only-outcome"), [[ALL, "all"], ...outcomes.sort().map((name) => [name, name])]);
  fillSelect(byId("only-category"), [[ALL, "all"], ...categories.map((name) => [name, name || "none"])]);
  if (reader.names.category !== undefined) byId("only-category").value = reader.names.category;
  listQuestions();
  byId("only-outcome").focus();
}

function verdictsOf(response) {
  return response[4].filter(([judge]) => transcripts().texts[judge] === reader.names.judge);
}

function listQuestions() {
  const { texts, questions } = transcripts();
  const [outcome, category] = [byId("only-outcome").value, byId("only-category").value];
  reader.waiting = reader.group.items.filter(
    ([question, responses]) =>
      (category === ALL || texts[questions[question][3]] === category) &&
      (outcome === ALL || responses.some((one) => verdictsOf(one).some((said) => said[1] === outcome))),
  );
  byId("reader-count").textContent = `${reader.waiting.length} of ${reader.group.items.length} questions`;
  byId("questions").replaceChildren();
  showMore();
  byId("reader").scrollTop = 0;
}

function showMore() {
  byId("questions").append(...reader.waiting.splice(0, BATCH).map(([place, responses]) => article(place, responses)));
  byId("more").hidden = reader.waiting.length === 0;
}

function article(place, responses) {
  const { texts, questions, clips } = transcripts();
  const [id, text, prompt, category, clip] = questions[place];
  const made = element("article", {}, element("h3", { dir: "auto" }, texts[text]));
  const about = [texts[id], texts[category]].filter(Boolean).join(", ");
  made.append(element("p", { class: "quiet" }, prompt === null ? about : `${about}; prompt: ${texts[prompt]}`));
  if (clip !== null) {
    made.append(element("audio", { controls: "", preload: "none", src: clips[clip], "aria-label": `Clip of ${visible(texts[id])}` }));
  }
  made.append(element("ol", {}, ...responses.map(answer)));
  return made;
}

function answer(response) {
  const { texts } = transcripts();
  const [seed, sample, text, truncated, verdicts] = response;
  const mine = verdictsOf(response);
  const made = element("li", mine.length ? { class: mine[0][1] } : {});
  made.append(element("p", { class: "said", dir: "auto" }, texts[text] || "(empty)"));
  for (const [judge, outcome, score, reason] of verdicts) {
    const said = score === null ? outcome : `${outcome} ${score}`;
    made.append(element("p", { class: "verdict" }, element("b", {}, said), ` (${texts[judge]}): ${texts[reason]}`));
  }
  const about = `sample ${sample + 1}, training seed ${seed}${truncated ? ", cut at the token limit" : ""}`;
  made.append(element("p", { class: "verdict" }, about));
  return made;
}

function startReader() {
  const dialog = byId("reader");
  byId("reader-close").addEventListener("click", () => dialog.close());
  byId("decline").addEventListener("click", () => dialog.close());
  byId("accept").addEventListener("click", () => {
    reader.accepted = true;
    showTranscripts();
  });
  byId("more").addEventListener("click", showMore);
  byId("only-outcome").addEventListener("change", listQuestions);
  byId("only-category").addEventListener("change", listQuestions);
  dialog.addEventListener("close", () => byId("questions").replaceChildren()); // stops what plays
}
