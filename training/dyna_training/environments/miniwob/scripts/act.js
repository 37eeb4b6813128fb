// Actions, done as a browser would do them, and episodes made of them. Runs in the top frame, after view.js.
(() => {
  if (window !== window.top) return;
  const { look, options, typed, isField, scrolls, active } = window.dyna;
  const PAUSE = 1000; // milliseconds that an action lets pass
  const SETTLE = 100; // that pass before an episode begins
  const FOREVER = 1e12; // the page's own limit of an episode, out of the way
  const CODES = {
    Enter: 13, Tab: 9, Backspace: 8, Delete: 46, Escape: 27, Space: 32, Home: 36, End: 35,
    PageUp: 33, PageDown: 34, ArrowLeft: 37, ArrowUp: 38, ArrowRight: 39, ArrowDown: 40,
  };
  const GONE = (ref) => `There is no [${ref}] on the page.`;

  let found = new Map();
  let hovered = null;

  const wait = (milliseconds) => {
    const frames = Array.from({ length: window.length }, (_, index) => window[index]);
    return Promise.all([window, ...frames].map((frame) => frame.dyna?.pass(milliseconds)));
  };

  // ---------------------------------------------------------------- mouse and keys

  const centre = (element) => {
    const box = element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const mouse = (element, type, [x, y], given = {}) => {
    const view = element.ownerDocument.defaultView;
    const Kind = type.startsWith('pointer') ? view.PointerEvent : view.MouseEvent;
    const bubbles = !/(enter|leave)$/.test(type);
    return element.dispatchEvent(
      new Kind(type, { bubbles, cancelable: true, composed: true, view, clientX: x, clientY: y, button: 0, ...given }),
    );
  };
  // An element and those around it, as far as they are not around another one, too.
  const upTo = (other, element) =>
    !element || element.contains(other) ? [] : [element, ...upTo(other, element.parentElement)];
  const hover = (element, at) => {
    if (hovered !== element) {
      if (hovered?.isConnected) {
        mouse(hovered, 'mouseout', at);
        upTo(element, hovered).forEach((left) => mouse(left, 'mouseleave', at));
      }
      mouse(element, 'mouseover', at);
      upTo(hovered, element).reverse().forEach((entered) => mouse(entered, 'mouseenter', at));
      hovered = element;
    }
    mouse(element, 'mousemove', at);
  };
  const focus = (element) => {
    const target = element.closest('a[href], button, input, select, textarea, [tabindex], [contenteditable=true]');
    if (target) target.focus();
    else element.ownerDocument.activeElement?.blur?.();
  };
  const click = (element, at = centre(element)) => {
    hover(element, at);
    mouse(element, 'pointerdown', at, { buttons: 1 });
    if (mouse(element, 'mousedown', at, { buttons: 1 })) focus(element);
    mouse(element, 'pointerup', at);
    mouse(element, 'mouseup', at);
    mouse(element, 'click', at, { detail: 1 });
  };
  const drag = async (element, from, to) => {
    hover(element, from);
    mouse(element, 'pointerdown', from, { buttons: 1 });
    mouse(element, 'mousedown', from, { buttons: 1 });
    const over = (at) => element.ownerDocument.elementFromPoint(...at) || element.ownerDocument.documentElement;
    for (let step = 1; step <= 10; step++) {
      const at = from.map((start, axis) => start + ((to[axis] - start) * step) / 10);
      mouse(over(at), 'pointermove', at, { buttons: 1 });
      mouse(over(at), 'mousemove', at, { buttons: 1 });
      await wait(10);
    }
    mouse(over(to), 'pointerup', to);
    mouse(over(to), 'mouseup', to);
  };
  const key = (element, type, name) => {
    const code = CODES[name] || name.toUpperCase().charCodeAt(0);
    const value = name === 'Space' ? ' ' : name;
    const typing = type === 'keypress' ? (name.length === 1 ? name.charCodeAt(0) : code) : code;
    const Kind = element.ownerDocument.defaultView.KeyboardEvent;
    return element.dispatchEvent(
      new Kind(type, { bubbles: true, cancelable: true, key: value, code: name, keyCode: typing, which: typing, charCode: type === 'keypress' ? typing : 0 }),
    );
  };
  const changed = (element, type) =>
    element.dispatchEvent(new (element.ownerDocument.defaultView.Event)(type, { bubbles: true }));
  const setValue = (element, value) => {
    // As the browser sets it: frameworks that watch the property of the element itself see no change otherwise.
    if (element.isContentEditable) element.innerText = value;
    else {
      const kind = Object.getPrototypeOf(element);
      Object.getOwnPropertyDescriptor(kind, 'value').set.call(element, value);
    }
    changed(element, 'input');
  };
  const value = (element) => (element.isContentEditable ? element.innerText.replace(/\n$/, '') : element.value);

  const type = (element, text) => {
    click(element);
    if (value(element)) setValue(element, '');
    if (!/^(text|search|password|email|tel|url|textarea)$/.test(element.type)) setValue(element, text);
    else {
      for (const letter of text) {
        const go = key(element, 'keydown', letter) && key(element, 'keypress', letter);
        if (go) setValue(element, element.value + letter);
        key(element, 'keyup', letter);
      }
    }
    changed(element, 'change');
  };

  const press = (name) => {
    const element = active() || document.body;
    const go = key(element, 'keydown', name) && (!/^(Enter|Space|.)$/.test(name) || key(element, 'keypress', name));
    if (go) byDefault(element, name);
    if (element.isConnected) key(element, 'keyup', name);
  };
  const byDefault = (element, name) => {
    if (isField(element)) {
      if (name.length === 1) setValue(element, value(element) + name);
      if (name === 'Space') setValue(element, `${value(element)} `);
      if (name === 'Backspace') setValue(element, value(element).slice(0, -1));
      if (name === 'Enter' && element.tagName === 'TEXTAREA') setValue(element, `${value(element)}\n`);
      if (name === 'Enter' && element.tagName === 'INPUT') element.form?.requestSubmit();
    } else if (/^(Enter|Space)$/.test(name) && element.matches('button, a[href], input')) {
      element.click();
    }
    if (name === 'Tab') {
      const stops = [...element.ownerDocument.querySelectorAll('a[href], button, input, select, textarea, [tabindex="0"]')];
      const open = stops.filter((stop) => !stop.disabled && stop.checkVisibility());
      open[(open.indexOf(element) + 1) % Math.max(1, open.length)]?.focus();
    }
  };

  // ---------------------------------------------------------------- actions: each is done, or says why not

  const target = (ref) => {
    const element = found.get(ref);
    return element?.isConnected && element.ownerDocument.defaultView ? element : null;
  };
  const at = (where) => {
    if (where.ref !== undefined) {
      const element = target(where.ref);
      return element ? { element, point: centre(element) } : { wrong: GONE(where.ref) };
    }
    const element = document.elementFromPoint(where.x, where.y);
    return element && !element.closest('#reward-display, #sync-task-cover')
      ? { element, point: [where.x, where.y] }
      : { wrong: `There is nothing at ${where.x},${where.y}.` };
  };
  // Lists that are sorted by hand take a place only from who is past its middle.
  const beyond = (from, to) => {
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]);
    return to.map((end, axis) => end + (far ? (4 * (end - from[axis])) / far : 0));
  };
  const ACTIONS = {
    wait: () => null,
    press: ({ key: name }) => void press(name),
    click({ where }) {
      const { element, point, wrong } = at(where);
      if (wrong) return wrong;
      if (element.disabled) return `[${where.ref}] is disabled.`;
      return void click(element, point);
    },
    hover({ where }) {
      const { element, point, wrong } = at(where);
      return wrong || void hover(element, point);
    },
    async drag({ from, to, by }) {
      const source = at(from);
      if (source.wrong) return source.wrong;
      const goal = by ? { point: source.point.map((start, axis) => start + by[axis]) } : at(to);
      if (goal.wrong) return goal.wrong;
      const end = to?.ref === undefined ? goal.point : beyond(source.point, goal.point);
      return void (await drag(source.element, source.point, end));
    },
    type({ where, text }) {
      const element = target(where.ref);
      if (!element) return GONE(where.ref);
      if (!isField(element)) return `Nothing can be typed into [${where.ref}].`;
      if (element.disabled || element.readOnly) return `[${where.ref}] cannot be changed.`;
      const fitting = typed(element, text);
      if (fitting === null) return `[${where.ref}] takes a ${element.type}, and no other text.`;
      return void type(element, fitting);
    },
    select({ where, text }) {
      const element = target(where.ref);
      if (!element) return GONE(where.ref);
      if (element.tagName !== 'SELECT') return `[${where.ref}] is no list.`;
      const option = [...element.options].find((one) => one.text.replace(/\s+/g, ' ').trim() === text && !one.disabled);
      if (!option) return `The list [${where.ref}] has no such option.`;
      element.focus();
      option.selected = element.multiple ? !option.selected : true;
      changed(element, 'input');
      return void changed(element, 'change');
    },
    scroll({ where, direction }) {
      const element = target(where.ref);
      if (!element) return GONE(where.ref);
      if (!scrolls(element)) return `[${where.ref}] does not scroll.`;
      element.scrollTop += (direction === 'down' ? 0.9 : -0.9) * element.clientHeight;
      return void changed(element, 'scroll');
    },
    highlight({ where, text }) {
      const element = target(where.ref);
      if (!element) return GONE(where.ref);
      const range = document.createRange();
      range.selectNodeContents(element);
      if (text) {
        const pieces = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        let piece = pieces.nextNode();
        while (piece && !piece.data.includes(text)) piece = pieces.nextNode();
        if (!piece) return `[${where.ref}] does not have that text in one piece.`;
        range.setStart(piece, piece.data.indexOf(text));
        range.setEnd(piece, piece.data.indexOf(text) + text.length);
      }
      if (element.isContentEditable) element.focus();
      const selection = window.getSelection();
      selection.removeAllRanges();
      return void selection.addRange(range);
    },
  };

  // ---------------------------------------------------------------- episodes

  const state = (refused = '') => {
    const seen = WOB_DONE_GLOBAL ? { lines: [], found: new Map() } : look();
    found = seen.found;
    return {
      refused,
      said: window.dyna.said.splice(0),
      lines: seen.lines,
      options: WOB_DONE_GLOBAL ? [] : options(found),
      done: WOB_DONE_GLOBAL,
      reward: WOB_DONE_GLOBAL ? Number(WOB_RAW_REWARD_GLOBAL) : 0,
    };
  };
  const play = async (action) => {
    if (WOB_DONE_GLOBAL) return state('The episode is over.');
    const refused = await ACTIONS[action.do](action);
    if (refused) return state(refused);
    await wait(PAUSE);
    return state();
  };

  Object.assign(window.dyna, {
    // Begin the episode of a seed and return what is there then; null as long as the page is not ready.
    async begin(seed, mode) {
      await wait(SETTLE);
      Math.seedrandom(seed);
      core.setDataMode(mode);
      core.EPISODE_MAX_TIME = FOREVER;
      core.startEpisodeReal();
      return window.dyna.opening();
    },
    async opening() {
      if (!WOB_TASK_READY) return null;
      await wait(PAUSE);
      const told = core.getUtterance();
      const task = typeof told === 'string' ? told : told.utterance;
      // A task may show a colour instead of naming it.
      const shades = [...document.querySelectorAll('#query *')].map((element) => element.style.backgroundColor);
      const shown = shades.filter((shade) => shade && !task.includes(shade)).map((shade) => ` (${shade})`);
      return { ...state(), task: task + shown.join('') };
    },
    hidden: () => look(true).lines,
    // Do actions one after the other and return what is there after the last.
    async play(actions) {
      let after = null;
      for (const action of actions) after = await play(action);
      return after;
    },
  });
})();
