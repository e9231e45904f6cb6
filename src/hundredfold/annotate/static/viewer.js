// One image on a canvas: zoom and move with wheel, mouse, fingers and keys; level and window by a table of grey values.

const MOST = 40, EDGE = 12;

export class Viewer {
  /** `below`: room in px that is kept free under the whole image. */
  constructor(canvas, below = 0) {
    this.below = below;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.bitmap = null;
    this.level = 0;
    this.window = 0;
    this.pointers = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", () => this.fit());
  }

  /** Show a picture, or nothing; done when it is painted. */
  show(bitmap) {
    this.bitmap = bitmap;
    this.source = null;
    return new Promise((resolve) => { this.painted = resolve; this.fit(); });
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return this.canvas.clientHeight; }

  fit() {
    this.place();
    this.draw();
  }

  /** The whole image, in the middle. */
  place() {
    this.whole = true;
    if (!this.bitmap) return;
    const { width, height } = this.bitmap;
    this.scale = Math.min((this.width - 2 * EDGE) / width, (this.height - 2 * EDGE - this.below) / height);
    this.x = (this.width - width * this.scale) / 2;
    this.y = (this.height - this.below - height * this.scale) / 2;
  }

  resize() {
    const dense = devicePixelRatio || 1;
    this.canvas.width = Math.round(this.width * dense); // this empties the canvas, so it is painted in the same frame
    this.canvas.height = Math.round(this.height * dense);
    if (this.whole !== false) this.place();
    this.paint();
  }

  /** Zoom by a factor; the point at (x, y) stays where it is. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    if (!this.bitmap) return;
    const least = 0.5 * Math.min(this.width / this.bitmap.width, this.height / this.bitmap.height);
    const scale = Math.min(Math.max(this.scale * factor, least), Math.max(MOST, least));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.whole = false;
    this.draw();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.whole = false;
    this.draw();
  }

  /** Level and window from -100 to 100; 0 and 0 leave the values as they are. */
  adjust(level, window) {
    this.level = level;
    this.window = window;
    this.source = null;
    this.draw();
  }

  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.paint(); });
  }

  paint() {
    const { context, canvas } = this;
    const dense = devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (this.bitmap) this.paintBitmap(context, dense);
    this.painted?.();
  }

  paintBitmap(context, dense) {
    context.setTransform(dense * this.scale, 0, 0, dense * this.scale, dense * this.x, dense * this.y);
    context.imageSmoothingEnabled = this.whole || this.scale * dense < 8; // further in, the pixels themselves
    context.imageSmoothingQuality = "high";
    this.source ??= this.windowed();
    context.drawImage(this.source, 0, 0);
  }

  windowed() {
    if (!this.level && !this.window) return this.bitmap;
    const { width, height } = this.bitmap;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(this.bitmap, 0, 0);
    const image = context.getImageData(0, 0, width, height);
    const slope = 2 ** (this.window / 40);
    const centre = 127.5 - 1.275 * this.level;
    const table = new Uint8ClampedArray(256).map((_, value) => Math.round((value - centre) * slope + 127.5));
    const data = image.data;
    for (let i = 0; i < data.length; i += 4) {
      data[i] = table[data[i]];
      data[i + 1] = table[data[i + 1]];
      data[i + 2] = table[data[i + 2]];
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), event.offsetX, event.offsetY);
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.offsetX, y: event.offsetY };
    if (this.pointers.size === 1) {
      this.pan(now.x - before.x, now.y - before.y);
    } else {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const span = (at) => Math.hypot(at.x - other.x, at.y - other.y) || 1;
      this.zoom(span(now) / span(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    }
    this.pointers.set(event.pointerId, now);
  }
}
