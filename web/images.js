// Pixels of image files and camera frames.

// The longest side of an image, in pixels: larger ones are scaled down at once, so that phones can
// hold and draw their class maps. Files for devices are smaller still.
const LONGEST = 1600;

/**
 * Decodes an image file as Python's `read_image` does: upright, without colour management, on white
 * where it is transparent.
 * @return the image, ImageData.
 */
export async function readImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {colorSpaceConversion: 'none'});
  } catch {
    throw new Error(`${file.name || 'what was pasted'} is no image that this browser can read`);
  }
  try {
    return pixels(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** A camera, which is on from `start` to `stop`. */
export class Camera {
  #stream = null;
  #video = document.createElement('video');

  get isOn() {
    return Boolean(this.#stream);
  }

  /** Asks for the camera; `onend` is called if it is taken away. */
  async start(onend) {
    if (!navigator.mediaDevices) {
      throw new Error('Browsers give the camera only to pages from https or from this machine.');
    }
    const wanted = {facingMode: 'environment', width: {ideal: 640}, height: {ideal: 480}};
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({video: wanted});
    } catch (error) {
      throw new Error(`No camera: ${error.message}`);
    }
    this.#stream.getTracks().forEach((track) => track.addEventListener('ended', onend));
    this.#video.muted = this.#video.playsInline = true;
    this.#video.srcObject = this.#stream;
    await this.#video.play();
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = this.#video.srcObject = null;
  }

  /** Returns the present frame, ImageData. */
  frame() {
    return pixels(this.#video, this.#video.videoWidth, this.#video.videoHeight);
  }
}

function pixels(source, width, height) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(scale * width));
  canvas.height = Math.max(1, Math.round(scale * height));
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.imageSmoothingQuality = 'high';
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
