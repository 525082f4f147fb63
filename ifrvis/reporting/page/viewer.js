// COCO's compressed run lengths: little-endian 5-bit digits from "0" on; from the fourth on differences.
const runsOf = (counts) => {
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, digit;
    do {
      digit = counts.charCodeAt(at++) - 48;
      value |= (digit & 31) << shift;
      shift += 5;
    } while (digit & 32);
    if (digit & 16) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
};

const play = () => {
  const videos = data.scenes.flatMap((scene) => scene.videos.map((video) => ({ ...video, scene })));
  const state = { video: videos[0], frame: 0, timer: 0, images: [], panes: [], cursors: [] };
  const colourOf = (track) => data.colours.identity[track.identity % data.colours.identity.length];
  const count = () => state.video.frames.length;
  // Errors that begin together and are of one kind are one mark.
  const marksOf = (pane) => {
    const marks = new Map();
    for (const error of pane.errors) {
      const key = `${error.kind} ${error.frames[0]}`;
      const mark = marks.get(key) ?? { kind: error.kind, from: error.frames[0], to: error.frames[0], texts: [] };
      mark.to = Math.max(mark.to, ...error.frames);
      mark.texts.push(error.text);
      marks.set(key, mark);
    }
    return [...marks.values()].sort((one, other) => one.from - other.from);
  };

  const drawMask = (context, counts, colour) => {
    const { width, height } = state.video;
    const image = context.getImageData(0, 0, width, height);
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    let place = 0, sumX = 0, sumY = 0, area = 0;
    runsOf(counts).forEach((run, index) => {
      for (let pixel = place; index % 2 && pixel < place + run; pixel++) {
        const x = Math.floor(pixel / height), y = pixel % height, at = 4 * (y * width + x);
        [r, g, b].forEach((value, channel) => { image.data[at + channel] = 0.45 * image.data[at + channel] + 0.55 * value; });
        sumX += x; sumY += y; area += 1;
      }
      place += run;
    });
    context.putImageData(image, 0, 0);
    return area ? [sumX / area, sumY / area] : null;
  };
  const drawPane = ({ pane, canvas, items }) => {
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const { width, height } = state.video;
    const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    small.drawImage(state.images[state.frame], 0, 0, width, height);
    const names = [];
    pane.tracks.forEach((track, index) => {
      const counts = track.masks[state.frame];
      const centre = counts === null ? null : drawMask(small, counts, colourOf(track));
      items[index].classList.toggle("absent", centre === null);
      if (centre) names.push([track.name, centre]);
    });
    const scale = canvas.width / width;
    context.imageSmoothingEnabled = scale < 2;
    context.drawImage(small.canvas, 0, 0, canvas.width, canvas.height);
    context.font = "bold 22px system-ui, sans-serif";
    Object.assign(context, { textAlign: "center", textBaseline: "middle", lineWidth: 4, strokeStyle: "#000", fillStyle: "#fff" });
    const taken = [];
    for (const [name, centre] of names) {
      let [x, y] = centre.map((value) => (value + 0.5) * scale);
      while (taken.some(([otherX, otherY]) => Math.hypot(x - otherX, y - otherY) < 20)) x += 20;
      taken.push([x, y]);
      context.strokeText(name, x, y);
      context.fillText(name, x, y);
    }
    canvas.setAttribute("aria-label", `${pane.title}, frame ${state.frame + 1}: ${names.length ? `identities ${names.map(([name]) => name).join(", ")}` : "no track"}`);
  };
  const show = (frame) => {
    state.frame = Math.max(0, Math.min(count() - 1, frame));
    byId("frame").value = state.frame;
    byId("at").textContent = `frame ${state.frame + 1} of ${count()}`;
    state.panes.forEach(drawPane);
    state.cursors.forEach((cursor) => { cursor.style.left = `${(100 * (state.frame + 0.5)) / count()}%`; });
    const now = state.panes.flatMap(({ pane, marks }) => marks
      .filter((mark) => mark.from <= state.frame && state.frame <= mark.to)
      .map((mark) => `${pane.title}: ${mark.kind}, ${mark.texts.join("; ")}`));
    if (!state.timer) byId("status").textContent = now.join(". ");
  };
  const stop = () => { clearInterval(state.timer); state.timer = 0; byId("play").textContent = "Play"; show(state.frame); };
  const toggle = () => {
    if (state.timer) return stop();
    byId("play").textContent = "Pause";
    state.timer = setInterval(() => (state.frame + 1 < count() ? show(state.frame + 1) : show(0)), 150);
  };
  const jump = (frame) => { if (state.timer) stop(); show(frame); };
  const step = (way) => {
    const starts = state.panes.flatMap(({ marks }) => marks.map((mark) => mark.from)).sort((one, other) => one - other);
    const next = way > 0 ? starts.find((at) => at > state.frame) : starts.findLast((at) => at < state.frame);
    jump(next ?? state.frame);
  };

  const addLane = (kind, marks) => {
    const lane = element("div", "", { class: "lane" });
    const bar = element("div");
    for (const mark of marks.filter((each) => each.kind === kind)) {
      const text = `${kind} in frame ${mark.from + 1}: ${mark.texts.join("; ")}`;
      const button = element("button", "", { type: "button", "aria-label": text, title: text });
      Object.assign(button.style, {
        background: data.colours.error[kind],
        left: `${(100 * mark.from) / count()}%`,
        width: `${(100 * (mark.to - mark.from + 1)) / count()}%`,
      });
      button.addEventListener("click", () => jump(mark.from));
      bar.append(button);
    }
    const cursor = element("s");
    bar.append(cursor);
    state.cursors.push(cursor);
    lane.append(element("span", kind), bar);
    byId("timeline").append(lane);
  };
  const addPane = (pane) => {
    const figure = element("figure");
    const { width, height } = state.video;
    const zoom = Math.max(1, Math.ceil(480 / width));
    const canvas = element("canvas", "", { role: "img", width: width * zoom, height: height * zoom });
    canvas.style.setProperty("--aspect", `${width} / ${height}`);
    const list = element("ul");
    const items = pane.tracks.map((track) => {
      const item = element("li"), patch = element("i");
      patch.style.background = colourOf(track);
      item.append(patch, `${track.name} ${track.category}` + ("score" in track ? ` ${track.score.toFixed(2)}` : ""));
      list.append(item);
      return item;
    });
    figure.append(element("figcaption", pane.title), canvas, list);
    byId("panes").append(figure);
    const marks = marksOf(pane);
    state.panes.push({ pane, canvas, items, marks });
    const kinds = Object.keys(data.colours.error).filter((kind) => marks.some((mark) => mark.kind === kind));
    if ("row" in pane) byId("timeline").append(element("h3", `${pane.title}, identity errors: ${pane.errors.length}, objects never found: ${pane.lost}`));
    kinds.forEach((kind) => addLane(kind, marks));
  };
  const load = async (video) => {
    if (state.timer) stop();
    const images = video.frames.map((frame) => Object.assign(new Image(), { src: `data:image/jpeg;base64,${frame}` }));
    await Promise.all(images.map((image) => image.decode()));
    Object.assign(state, { video, frame: 0, images, panes: [], cursors: [] });
    byId("panes").replaceChildren();
    byId("timeline").replaceChildren();
    video.panes.forEach(addPane);
    byId("frame").max = count() - 1;
    byId("source").textContent = `${video.scene.rows.join(" and ")}, seed ${video.scene.seed}`;
    show(0);
  };

  videos.forEach((video, index) => byId("video").append(element("option", `${video.scene.dataset}: ${video.name}`, { value: index })));
  byId("video").addEventListener("change", (event) => load(videos[event.target.value]));
  byId("frame").addEventListener("input", (event) => jump(Number(event.target.value)));
  byId("play").addEventListener("click", toggle);
  byId("back").addEventListener("click", () => jump(state.frame - 1));
  byId("forth").addEventListener("click", () => jump(state.frame + 1));
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("viewer").addEventListener("keydown", (event) => {
    const keys = { " ": toggle, ArrowLeft: () => jump(state.frame - 1), ArrowRight: () => jump(state.frame + 1), n: () => step(1), p: () => step(-1) };
    const own = { SELECT: true, INPUT: event.key.startsWith("Arrow"), BUTTON: event.key === " " }[event.target.tagName];
    if (!(event.key in keys) || own || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  load(videos[0]);
};
if (data.scenes.length) play();
