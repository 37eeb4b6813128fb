// Time that stands still, but for what an action lets pass. Runs in every frame before any script of the page.
//
// Pages animate, delay and end episodes by timers, so what is seen would depend on how fast the machine is. Here timers
// fire in the order of their time while `dyna.pass` runs, and at no other moment; dates and frames follow.
(() => {
  const EPOCH = Date.UTC(2020, 0, 1, 12);
  const FRAME = 16;
  const RealDate = Date;
  const timers = new Map();
  let now = 0;
  let last = 0;

  const add = (action, delay, every, given) => {
    const wait = Math.max(1, Number(delay) || 0);
    timers.set(++last, { due: now + wait, every: every ? wait : 0, action, given });
    return last;
  };
  window.setTimeout = (action, delay, ...given) => add(action, delay, false, given);
  window.setInterval = (action, delay, ...given) => add(action, delay, true, given);
  window.requestAnimationFrame = (action) => add((...given) => action(now, ...given), FRAME, false, []);
  window.clearTimeout = window.clearInterval = window.cancelAnimationFrame = (id) => timers.delete(id);
  window.requestIdleCallback = undefined;
  performance.now = () => now;
  window.Date = new Proxy(RealDate, {
    construct: (date, given, target) =>
      Reflect.construct(date, given.length ? given : [EPOCH + now], target),
    apply: () => new RealDate(EPOCH + now).toString(),
    get: (date, name) => (name === 'now' ? () => EPOCH + now : Reflect.get(date, name)),
  });
  Object.defineProperty(RealDate.prototype, 'constructor', { value: window.Date });

  const next = (until) => {
    let found = null;
    for (const [id, timer] of timers) {
      if (timer.due <= until && (found === null || timer.due < timers.get(found).due)) found = id;
    }
    return found;
  };

  // Questions that would block the page are answered as by someone who agrees and has nothing to say.
  const said = [];
  window.alert = (text) => void said.push(String(text));
  window.confirm = (text) => (said.push(String(text)), true);
  window.prompt = (text) => (said.push(String(text)), '');
  window.print = () => {};
  window.open = () => null;
  navigator.geolocation.getCurrentPosition = (_, failed) => failed && setTimeout(failed, 1, { code: 1, message: '' });

  const still = new CSSStyleSheet();
  still.replaceSync('*, *::before, *::after { transition: none !important; animation: none !important; }');
  document.adoptedStyleSheets = [still];

  // What listens to the mouse can be acted on.
  const MOUSE = new Set([
    'click', 'dblclick', 'mousedown', 'mouseup', 'touchstart', 'mouseenter', 'mouseover', 'mousemove',
  ]);
  const listeners = new WeakMap();
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (MOUSE.has(type) && this instanceof Element) {
      if (!listeners.has(this)) listeners.set(this, new Set());
      listeners.get(this).add(type);
    }
    return listen.call(this, type, ...rest);
  };

  // Nobody leaves the page: that would be another document, loaded in real time. Links that are scripts are run.
  window.navigation.addEventListener('navigate', (event) => {
    if (event.cancelable && !event.hashChange) event.preventDefault();
  });
  history.back = history.forward = history.go = () => {};
  listen.call(window, 'click', (event) => {
    const link = event.defaultPrevented ? null : event.target.closest?.('a[href^="javascript:"]');
    if (!link) return;
    event.preventDefault();
    setTimeout(decodeURIComponent(link.getAttribute('href').slice('javascript:'.length)), 1);
  });
  // What a page reads from the package's folder is there at once. Files have no status; the pages look for one.
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, url) {
    return open.call(this, method, url, false);
  };
  const status = Object.getOwnPropertyDescriptor(XMLHttpRequest.prototype, 'status').get;
  Object.defineProperty(XMLHttpRequest.prototype, 'status', {
    get() {
      return status.call(this) || (this.readyState === 4 && this.responseText ? 200 : 0);
    },
  });

  window.dyna = {
    said,
    listens: (element, type) => Boolean(listeners.get(element)?.has(type)),

    // Let milliseconds pass. Between two timers, promises and observers have their turn.
    async pass(milliseconds) {
      const until = now + milliseconds;
      for (let id = next(until); id !== null; id = next(until)) {
        const timer = timers.get(id);
        now = Math.max(now, timer.due);
        if (timer.every) timer.due = now + timer.every;
        else timers.delete(id);
        try {
          if (typeof timer.action === 'function') timer.action.apply(window, timer.given);
          else (0, eval)(String(timer.action));
        } catch (error) {
          console.error(error);
        }
        await null;
      }
      now = until;
      await null;
    },
  };
})();
