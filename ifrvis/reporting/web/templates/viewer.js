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

// Errors of one kind that begin together are one mark.
const marksOf = (errors) => {
  const marks = {};
  for (const { kind, frames, text } of errors) {
    const mark = (marks[`${kind} ${frames[0]}`] ??= { kind, from: frames[0], to: frames[0], texts: [] });
    mark.to = Math.max(mark.to, frames[frames.length - 1]);
    mark.texts.push(text);
  }
  return Object.values(marks).sort((one, other) => one.from - other.from);
};

const startViewer = () => {
  const videos = data.scenes.flatMap((scene) => scene.videos.map((video) => ({ ...video, scene })));
  let video = videos[0], images = [], panes = [], cursors = [], frame = 0, timer = 0, awaited = null;
  const colourOf = (track) => data.colours.identity[track.identity % data.colours.identity.length];
  const percent = (frames) => `${(100 * frames) / images.length}%`;

  // Blends a mask into the pixels; returns its centre, or null where it is empty.
  const drawMask = (image, counts, colour) => {
    const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    let place = 0, sumX = 0, sumY = 0, area = 0;
    runsOf(counts).forEach((run, index) => {
      for (let pixel = place; index % 2 && pixel < place + run; pixel++) {
        const x = Math.floor(pixel / image.height), y = pixel % image.height, at = 4 * (y * image.width + x);
        rgb.forEach((value, channel) => { image.data[at + channel] = 0.45 * image.data[at + channel] + 0.55 * value; });
        sumX += x; sumY += y; area += 1;
      }
      place += run;
    });
    return area ? [sumX / area, sumY / area] : null;
  };
  const drawPane = ({ pane, canvas, items }) => {
    const { width, height } = video, zoom = canvas.width / width, names = [], taken = [];
    const small = new OffscreenCanvas(width, height).getContext("2d");
    small.drawImage(images[frame], 0, 0, width, height);
    const image = small.getImageData(0, 0, width, height);
    pane.tracks.forEach((track, index) => {
      const counts = track.masks[frame], centre = counts === null ? null : drawMask(image, counts, colourOf(track));
      items[index].classList.toggle("absent", centre === null);
      if (centre) names.push([track.name, centre]);
    });
    small.putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = zoom < 2;
    context.drawImage(small.canvas, 0, 0, canvas.width, canvas.height);
    context.font = "bold 22px system-ui, sans-serif";
    Object.assign(context, { textAlign: "center", textBaseline: "middle", lineWidth: 4, fillStyle: "#fff" });
    for (const [name, centre] of names) {
      let [x, y] = centre.map((value) => (value + 0.5) * zoom);
      while (taken.some(([otherX, otherY]) => Math.hypot(x - otherX, y - otherY) < 20)) x += 20;
      taken.push([x, y]);
      context.strokeText(name, x, y);
      context.fillText(name, x, y);
    }
    const said = names.length ? `identities ${names.map(([name]) => name).join(", ")}` : "no track";
    canvas.setAttribute("aria-label", `${pane.title}, frame ${frame + 1}: ${said}`);
  };
  const show = (wanted) => {
    frame = Math.max(0, Math.min(images.length - 1, wanted));
    byId("frame").value = frame;
    byId("at").textContent = `frame ${frame + 1} of ${images.length}`;
    panes.forEach(drawPane);
    cursors.forEach((cursor) => { cursor.style.left = percent(frame + 0.5); });
    if (timer) return; // nobody can follow what is said while it plays
    byId("status").textContent = panes.flatMap(({ pane, marks }) => marks
      .filter((mark) => mark.from <= frame && frame <= mark.to)
      .map((mark) => `${pane.title}: ${mark.kind}, ${mark.texts.join("; ")}`)).join(". ");
  };
  const stop = () => { clearInterval(timer); timer = 0; byId("play").textContent = "Play"; };
  const jump = (wanted) => { stop(); show(wanted); };
  const toggle = () => {
    if (timer) return jump(frame);
    byId("play").textContent = "Pause";
    timer = setInterval(() => show((frame + 1) % images.length), 150);
  };
  const step = (way) => {
    const starts = panes.flatMap(({ marks }) => marks.map((mark) => mark.from)).sort((one, other) => one - other);
    jump((way > 0 ? starts.find((at) => at > frame) : starts.findLast((at) => at < frame)) ?? frame);
  };

  const addLane = (kind, marks) => {
    const lane = element("div", "", { class: "lane" }), bar = element("div"), cursor = element("s");
    for (const mark of marks) {
      const text = `${kind} in frame ${mark.from + 1}: ${mark.texts.join("; ")}`;
      const button = element("button", "", { type: "button", "aria-label": text, title: text });
      button.style.background = data.colours.error[kind];
      Object.assign(button.style, { left: percent(mark.from), width: percent(mark.to - mark.from + 1) });
      button.addEventListener("click", () => jump(mark.from));
      bar.append(button);
    }
    bar.append(cursor);
    cursors.push(cursor);
    lane.append(element("span", kind), bar);
    byId("timeline").append(lane);
  };
  const addPane = (pane) => {
    const { width, height } = video, zoom = Math.max(1, Math.ceil(480 / width));
    const canvas = element("canvas", "", { role: "img", width: width * zoom, height: height * zoom });
    canvas.style.setProperty("--aspect", `${width} / ${height}`);
    const figure = element("figure"), list = element("ul"), marks = marksOf(pane.errors);
    const items = pane.tracks.map((track) => {
      const item = element("li"), patch = element("i");
      patch.style.background = colourOf(track);
      item.append(patch, `${track.name} ${track.category} ${track.score?.toFixed(2) ?? ""}`);
      return item;
    });
    list.append(...items);
    figure.append(element("figcaption", pane.title), canvas, list);
    byId("panes").append(figure);
    panes.push({ pane, canvas, items, marks });
    if (!("row" in pane)) return;
    const title = `${pane.title}, identity errors: ${pane.errors.length} in ${pane.tracked} object-frames tracked, objects never found: ${pane.lost}`;
    byId("timeline").append(element("h3", title));
    for (const kind of Object.keys(data.colours.error)) {
      const ofKind = marks.filter((mark) => mark.kind === kind);
      if (ofKind.length) addLane(kind, ofKind);
    }
  };
  const load = async (wanted) => {
    stop();
    awaited = wanted;
    const loaded = wanted.frames.map((jpeg) => Object.assign(new Image(), { src: `data:image/jpeg;base64,${jpeg}` }));
    await Promise.all(loaded.map((image) => image.decode()));
    if (awaited !== wanted) return; // another was chosen meanwhile
    [video, images, panes, cursors] = [wanted, loaded, [], []];
    byId("panes").replaceChildren();
    byId("timeline").replaceChildren();
    video.panes.forEach(addPane);
    byId("frame").max = images.length - 1;
    byId("source").textContent = video.scene.rows.join(" and ") + ("seed" in video.scene ? `, seed ${video.scene.seed}` : "");
    show(0);
  };

  videos.forEach(({ scene, name }, index) => byId("video").append(element("option", `${scene.dataset}: ${name}`, { value: index })));
  byId("video").addEventListener("change", (event) => load(videos[event.target.value]));
  byId("frame").addEventListener("input", (event) => jump(Number(event.target.value)));
  const back = () => jump(frame - 1), forth = () => jump(frame + 1), previous = () => step(-1), next = () => step(1);
  Object.entries({ play: toggle, back, forth, previous, next }).forEach(([id, act]) => byId(id).addEventListener("click", act));
  const keys = { " ": toggle, ArrowLeft: back, ArrowRight: forth, p: previous, n: next };
  byId("viewer").addEventListener("keydown", (event) => {
    const own = { SELECT: true, INPUT: event.key.startsWith("Arrow"), BUTTON: event.key === " " }[event.target.tagName];
    if (!(event.key in keys) || own || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  load(videos[0]);
};
if (data.scenes.length) startViewer();
