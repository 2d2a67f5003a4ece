"use strict";
// Paints the relevance that the page holds as numbers, and reads it out under the pointer.

const STEPS = 32767;
const at = (id) => document.getElementById(id);
const data = JSON.parse(at("relevance").textContent);
const canvases = [...document.querySelectorAll("canvas[data-map]")];
const maps = canvases.map((canvas) => read(data.maps[canvas.dataset.map], canvas));
const colors = new Map(
  Object.entries(data.colors).map(([name, color]) => [name, { ...color, table: bytes(color.table) }]),
);

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function read(texture, canvas) {
  const raw = bytes(texture.values);
  const values = new Float64Array(raw.length / 2);
  for (let i = 0; i < values.length; i++) {
    const steps = ((raw[2 * i] | (raw[2 * i + 1] << 8)) << 16) >> 16;
    values[i] = (steps * texture.peak) / STEPS;
  }
  const figure = canvas.closest("figure");
  const size = `${texture.width} ${texture.height}`;
  return {
    ...texture, values, canvas, size, sorted: values.map(Math.abs).sort(),
    ofPixels: figure.closest(".small") === null,
    mark: figure.querySelector(".mark"), full: figure.querySelector(".full"),
    says: figure.querySelector("output"),
  };
}

// The magnitude that gets full colour, as the figures of relprop.visualize have it.
function limitOf(sorted, percentile) {
  const place = ((sorted.length - 1) * percentile) / 100;
  const low = sorted[Math.floor(place)];
  const high = sorted[Math.ceil(place)];
  return low + (high - low) * (place % 1) || sorted[sorted.length - 1] || 1;
}

function joined(chosen) {
  const all = new Float64Array(chosen.reduce((count, map) => count + map.sorted.length, 0));
  let start = 0;
  for (const map of chosen) {
    all.set(map.sorted, start);
    start += map.sorted.length;
  }
  return all.sort();
}

const pixelMaps = maps.filter((map) => map.ofPixels);
const allPixels = joined(pixelMaps);

// Up to half opacity the picture shows through where relevance is weak; from there on ever less.
function paint(map, limit, opacity, color) {
  const strength = Math.min(1, 2 * opacity);
  const cover = Math.max(0, 2 * opacity - 1);
  const context = map.canvas.getContext("2d");
  const image = context.createImageData(map.width, map.height);
  map.values.forEach((relevance, i) => {
    const value = Math.min(1, Math.max(color.lowest, relevance / limit));
    const size = Math.abs(value);
    // Weak relevance is thin, and so it need not be pale: it would bleach the picture.
    const shown = Math.sign(value) * Math.max(size, (1 - cover) / 2);
    const place = Math.floor(((shown - color.lowest) / (1 - color.lowest)) * 257);
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = color.table[3 * Math.min(256, place) + c];
    image.data[4 * i + 3] = Math.round(255 * strength * (cover + (1 - cover) * size));
  });
  context.putImageData(image, 0, 0);
  map.canvas.dataset.limit = limit;
  map.full.textContent = `full colour at ${figures(limit)}`;
}

function figures(value) {
  const plain = value === 0 || (Math.abs(value) >= 1e-4 && Math.abs(value) < 1e6);
  const text = plain ? String(Number(value.toPrecision(4))) : value.toExponential(3);
  return text.replaceAll("-", "\u2212");
}

function draw() {
  const opacity = Number(at("opacity").value);
  const percentile = Number(at("percentile").value);
  const color = colors.get(at("colors").value);
  at("opacity-said").textContent = `${opacity} %`;
  at("percentile-said").textContent = percentile.toFixed(1);
  at("legend").src = color.legend;
  at("lowest").textContent = color.lowest < 0 ? "against the class" : "none";
  const shared = at("same")?.checked && limitOf(allPixels, percentile);
  for (const map of maps) {
    const limit = (map.ofPixels && shared) || limitOf(map.sorted, percentile);
    paint(map, limit, opacity / 100, color);
  }
}

// Where the pointer is in one map, all maps of its size are read.
function readOut(map, x, y) {
  map.at = [x, y];
  for (const other of maps.filter((one) => one.size === map.size)) {
    const value = other.values[y * other.width + x];
    other.says.textContent = `column ${x}, row ${y}: ${figures(value)}`;
    other.mark.hidden = false;
    other.mark.style.left = `${((x + 0.5) / other.width) * 100}%`;
    other.mark.style.top = `${((y + 0.5) / other.height) * 100}%`;
  }
}

function point(map, event) {
  const box = map.canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * map.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * map.height);
  readOut(map, within(x, map.width), within(y, map.height));
}

function within(place, side) {
  return Math.min(side - 1, Math.max(0, place));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function step(map, event) {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  const far = event.shiftKey ? 10 : 1;
  const [x, y] = map.at ?? [map.width >> 1, map.height >> 1];
  readOut(map, within(x + far * arrow[0], map.width), within(y + far * arrow[1], map.height));
}

for (const map of maps) {
  const under = map.canvas.previousElementSibling;
  under.src = at("picture").src;
  under.hidden = map.canvas.hidden = map.full.hidden = false;
  map.canvas.addEventListener("pointermove", (event) => point(map, event));
  map.canvas.addEventListener("pointerdown", (event) => point(map, event));
  map.canvas.addEventListener("keydown", (event) => step(map, event));
}
at("controls").hidden = false;
at("controls").addEventListener("input", draw);
at("controls").addEventListener("reset", () => setTimeout(draw));
at("controls").addEventListener("submit", (event) => event.preventDefault());
draw();
document.documentElement.dataset.drawn = maps.length;
