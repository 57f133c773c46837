// Computes: a photo in, probabilities out. The model resizes and crops; here a photo is decoded, and a large one reduced.
import * as ort from "./ort.js";

const MARGIN = 4; // a photo is reduced where that leaves so many times the pixels per side that the model resizes to
const session = start();

async function start() {
  try {
    ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };
    ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    const [made, facts] = await Promise.all([
      ort.InferenceSession.create(new URL("model.onnx", import.meta.url).href, { executionProviders: ["wasm"] }),
      fetch(new URL("model.json", import.meta.url)).then((response) => response.json()),
    ]);
    postMessage({ ready: true });
    return { made, side: facts.preprocessing.resize };
  } catch (error) {
    postMessage({ problem: `The model could not be loaded (${error.message}).` });
    throw error;
  }
}

let queue = Promise.resolve(); // one photo at a time: the model computes one at a time, and each takes memory
addEventListener("message", ({ data: { number, picture } }) => {
  queue = queue.then(async () => {
    try {
      postMessage({ number, ...(await answer(picture)) });
    } catch (error) {
      postMessage({ number, problem: error.message || String(error) });
    }
  });
});

async function answer(picture) {
  const { made, side } = await session;
  const images = new ort.Tensor("uint8", ...reduced(await pixels(picture), side));
  const found = await made.run({ images });
  images.dispose();
  return { probabilities: Array.from(found.probabilities.data), distance: found.distance ? found.distance.data[0] : null };
}

// RGBA, upright, as {data, width, height}.
async function pixels(picture) {
  let bitmap = picture;
  if (!(picture instanceof ImageBitmap)) {
    try {
      bitmap = await createImageBitmap(picture, { imageOrientation: "from-image" });
    } catch {
      throw new Error("This file cannot be read as a photo.");
    }
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // what a transparent photo lies on in training, too
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

// [RGB, shape], each pixel the mean of a square of pixels where the photo is much larger than the model needs: the same
// in every browser, and a phone's photo of 12 million pixels would take 150 MB in the model.
function reduced({ data, width, height }, side) {
  const [by, columns, rows] = grid(width, height, side);
  const left = Math.floor((width - columns * by) / 2), top = Math.floor((height - rows * by) / 2);
  const within = (place, length) => Math.min(Math.max(place, 0), length - 1); // at the border the last pixels repeat
  const rgb = new Uint8Array(columns * rows * 3);
  const area = by * by;
  let to = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let red = 0, green = 0, blue = 0;
      for (let y = top + row * by; y < top + (row + 1) * by; y++) {
        const line = within(y, height) * width;
        for (let x = left + column * by; x < left + (column + 1) * by; x++) {
          const from = 4 * (line + within(x, width));
          red += data[from];
          green += data[from + 1];
          blue += data[from + 2];
        }
      }
      rgb[to++] = Math.round(red / area);
      rgb[to++] = Math.round(green / area);
      rgb[to++] = Math.round(blue / area);
    }
  }
  return [rgb, [1, rows, columns, 3]];
}

// [pixels per side of a square, columns, rows]: the model must resize the reduced photo to as many pixels as the whole
// one, or all moves by half a pixel.
function grid(width, height, side) {
  const resized = (w, h) => Math.min(2 * side, Math.floor((side * Math.max(w, h)) / Math.min(w, h)));
  const off = ([columns, rows]) => Math.abs(columns / rows - width / height);
  for (let by = Math.floor(Math.min(width, height) / (MARGIN * side)); by > 1; by--) {
    const shapes = [Math.floor(width / by), Math.ceil(width / by)].flatMap(
      (columns) => [[columns, Math.floor(height / by)], [columns, Math.ceil(height / by)]],
    );
    const fits = shapes.filter(([w, h]) => resized(w, h) === resized(width, height)).sort((a, b) => off(a) - off(b));
    if (fits.length) return [by, ...fits[0]];
  }
  return [1, width, height];
}
