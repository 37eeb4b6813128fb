// What a person sees of the page, as lines of text, and what can be done with it. Runs in the top frame, after clock.js.
(() => {
  if (window !== window.top) return;
  const SKIPPED = '#query, #query-wrap, #reward-display, #sync-task-cover, #click-canvas, script, style, noscript, template, option';
  const BUTTONS = new Set(['button', 'submit', 'reset', 'image']);
  const HOVERS = ['mouseenter', 'mouseover', 'mousemove'];
  const DRAGGED =
    '.ui-draggable:not(.ui-dialog), .ui-sortable > *, .ui-slider-handle, .ui-resizable-handle:not(.ui-dialog > *)';
  const DRAGGING = /^(draggable|sortable|resizable)/;
  const BLOCK = /^(block|flex|grid|table|table-row|list-item)$/;

  const refs = new WeakMap();
  let last = 0;
  let selects = false; // whether the page asks for the selected text

  const quoted = (text) => JSON.stringify(text.replace(/\s+/g, ' ').trim());
  const style = (element) => element.ownerDocument.defaultView.getComputedStyle(element);
  const isRoot = (element) => /^(HTML|BODY)$/.test(element.tagName) || /^(wrap|area)$/.test(element.id);
  const isDrawn = (element) => element.namespaceURI === 'http://www.w3.org/2000/svg';
  const isEditor = (element) => element.isContentEditable && !element.parentElement?.isContentEditable;
  const isField = (element) =>
    element.tagName === 'TEXTAREA' || isEditor(element) ||
    (element.tagName === 'INPUT' && !BUTTONS.has(element.type) && !/^(checkbox|radio|range|file)$/.test(element.type));

  const isVisible = (element) => {
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return false;
    const box = element.getBoundingClientRect();
    if (isDrawn(element)) return box.width > 1 || box.height > 1;
    // Far out of the page is where things are put to be hidden; what was only scrolled away is not that far.
    return element.getClientRects().length > 0 && box.right > -900 && box.bottom > -9000;
  };

  // ---------------------------------------------------------------- who listens to the mouse

  // The handlers that jQuery calls for one listener: those with a selector are for elements further in.
  const jQueryOf = (element) => element.ownerDocument.defaultView.jQuery;
  const handlers = (element, type) => jQueryOf(element)?._data?.(element, 'events')?.[type] || [];
  const listens = (element, type) => {
    if (!element.ownerDocument.defaultView.dyna?.listens(element, type)) return false;
    const known = handlers(element, type);
    return !known.length || known.some((one) => !one.selector && !DRAGGING.test(one.namespace));
  };
  const isMeantBy = (element, above) =>
    ['click', 'mousedown'].some((type) =>
      handlers(above, type).some((one) => one.selector && jQueryOf(above)(above).find(one.selector).is(element)));
  const canBeDragged = (element) =>
    element.matches(DRAGGED) ||
    (listens(element, 'mousedown') && listens(element, 'touchstart') && !listens(element, 'click'));
  const canBeClicked = (element) => {
    if (isRoot(element) || canBeDragged(element) || element.matches('.ui-dialog, .ui-dialog-titlebar, .ui-menu')) return false;
    if (['click', 'dblclick', 'mousedown', 'mouseup'].some((type) => listens(element, type))) return true;
    if (element.onclick || element.onmousedown || element.onmouseup) return true;
    if (element.querySelector('a[href], button, input')) return false; // those are clicked
    for (let above = element.parentElement; above; above = above.parentElement) {
      if (isMeantBy(element, above)) return true;
    }
    const pointed = style(element).cursor === 'pointer';
    return pointed && style(element.parentElement).cursor !== 'pointer';
  };
  // What jQuery UI listens to only colours its own elements.
  const canBeHovered = (element) =>
    !isRoot(element) && !/\bui-/.test(element.className) && HOVERS.some((type) => listens(element, type));
  const scrolls = (element) =>
    !isRoot(element) && element.scrollHeight > element.clientHeight + 1 && element.clientHeight > 0 &&
    /auto|scroll/.test(style(element).overflowY);

  // ---------------------------------------------------------------- elements in words

  // The attribute as the author wrote it: names of colours survive that way.
  const colour = (element) =>
    isDrawn(element)
      ? element.getAttribute('fill') || element.style.fill
      : element.style.backgroundColor || element.style.background;

  const classes = (element) => [...element.classList].filter((one) => !/^ui-/.test(one));
  const icon = (element) =>
    [...element.classList].filter((one) => !/^ui-(widget|corner|state|button|icon)/.test(one)).join(' ');

  const kind = (element) => {
    const tag = element.tagName.toLowerCase();
    if (tag === 'button') return 'button';
    if (tag === 'input') {
      if (BUTTONS.has(element.type)) return 'button';
      if (element.type === 'radio') return 'radio button';
      return { checkbox: 'checkbox', range: 'slider', text: 'text field' }[element.type] || `${element.type} field`;
    }
    if (tag === 'textarea' || isEditor(element)) return 'text area';
    if (tag === 'select') return element.multiple ? 'list of several' : 'list';
    if (tag === 'a') return 'link';
    if (tag === 'svg') return 'drawing';
    if (isDrawn(element)) return /^(g|defs|tspan|title|desc)$/.test(tag) ? null : tag;
    const name = [tag, ...classes(element)].join('.');
    if (tag === 'canvas' || canBeClicked(element) || canBeDragged(element) || scrolls(element)) return name;
    if (selects && !element.children.length && /\S/.test(element.textContent)) return name;
    if (canBeHovered(element) || isPatch(element)) return name;
    return null;
  };
  // An empty box that is there for its colour.
  const isPatch = (element) => {
    if (isRoot(element) || element.childNodes.length || !/^(DIV|SPAN)$/.test(element.tagName)) return false;
    const shade = style(element).backgroundColor;
    return shade !== 'rgba(0, 0, 0, 0)' && shade !== style(element.parentElement).backgroundColor;
  };

  const place = (element) => {
    const box = element.getBoundingClientRect();
    return `at ${Math.round(box.left + box.width / 2)},${Math.round(box.top + box.height / 2)}` +
      ` size ${Math.round(box.width)}x${Math.round(box.height)}`;
  };

  const labels = (element) => [...(element.labels || [])].map((label) => label.textContent).join(' ');
  const named = (element) =>
    element.getAttribute('aria-label') || element.title || element.getAttribute('alt') || element.placeholder || '';

  // One line about an element: what it is, what it says, and the state that it is in.
  const line = (element, what, text) => {
    const parts = [what];
    const said = text.trim() || labels(element).trim() || named(element);
    if (said) parts.push(quoted(said));
    else if (/^(button|link)$/.test(what) && icon(element)) parts.push(`(${icon(element)})`);
    else if (/^(div|span|img|td|li)\b/.test(what) && element.id) parts[0] += `#${element.id}`;
    if (element.tagName === 'SELECT') {
      parts.push('of', [...element.options].map((o) => quoted(o.text) + (o.selected ? ' selected' : '')).join(', '));
    } else if (isField(element)) {
      parts.push('with', JSON.stringify(element.isContentEditable ? element.innerText.trim() : element.value));
    }
    if (colour(element) && (isDrawn(element) || !said)) parts.push(`coloured ${colour(element)}`);
    if (isDrawn(element) || canBeDragged(element) || canBeHovered(element)) parts.push(place(element));
    if (/^(checkbox|radio)$/.test(element.type)) parts.push(element.checked ? 'checked' : 'unchecked');
    if (element.type === 'range') parts.push('at', element.value);
    if (element.disabled) parts.push('disabled');
    if (scrolls(element)) {
      parts.push(`scrolled ${Math.round((100 * element.scrollTop) / (element.scrollHeight - element.clientHeight))}%`);
    }
    const opened = element.closest('[role=tab]') || element;
    if (['aria-selected', 'aria-expanded'].some((name) => opened.getAttribute(name) === 'true')) parts.push('open');
    if (element === element.ownerDocument.activeElement) parts.push('focused');
    return parts.join(' ');
  };

  // The lines of the page and the elements that they number. An element keeps its number as long as it lives.
  // With `hidden`, what cannot be seen is shown, too, and nothing is numbered that was not.
  const look = (hidden = false) => {
    selects = [...document.scripts].some((script) => !script.src && script.text.includes('getSelection'));
    const lines = [];
    const found = new Map();
    let text = '';
    const there = (element) =>
      !element.matches(SKIPPED) && (hidden || isVisible(element) || style(element).display === 'contents');
    const flush = (depth) => {
      const said = text.replace(/[\s|]+$/, '');
      if (said.trim()) lines.push('  '.repeat(depth) + quoted(said));
      text = '';
    };
    const hasKind = (element) => there(element) && (Boolean(kind(element)) || [...element.children].some(hasKind));
    const show = (element, what, depth) => {
      flush(depth);
      if (!refs.has(element) && !hidden) refs.set(element, ++last);
      const ref = refs.get(element) ?? '-';
      found.set(ref, element);
      const closed = isField(element) || /^(SELECT|BUTTON|A|CANVAS)$/.test(element.tagName);
      const inner = !closed && [...element.children].some((child) => !isIcon(child, element) && hasKind(child));
      const whole = !inner && !isField(element) && !/^(SELECT|svg|CANVAS)$/.test(element.tagName);
      lines.push('  '.repeat(depth) + `[${ref}] ` + line(element, what, whole ? element.innerText ?? element.textContent : ''));
      if (inner) walk(element, depth + 1);
      flush(depth + 1);
    };
    const isIcon = (child, inside) => child.tagName === 'svg' && Boolean(kind(inside));
    const walk = (element, depth) => {
      for (const child of element.childNodes) {
        if (child.nodeType === Node.TEXT_NODE) {
          // A label says what its control is, and the control has said so.
          if (!(element.tagName === 'LABEL' && element.control)) text += child.data;
          continue;
        }
        if (child.nodeType !== Node.ELEMENT_NODE || !there(child) || isIcon(child, element)) continue;
        if (child.tagName === 'IFRAME') {
          flush(depth);
          if (child.contentDocument?.body) walk(child.contentDocument.body, depth);
          continue;
        }
        const what = kind(child);
        if (what) {
          show(child, what, depth);
          continue;
        }
        const display = style(child).display;
        const block = BLOCK.test(display) || child.tagName === 'BR';
        if (block) flush(depth);
        else if (display === 'table-cell' && text.trim()) text += ' | ';
        walk(child, depth);
        if (block) flush(depth);
      }
    };
    walk(document.body, 0);
    flush(0);
    return { lines, found };
  };

  // ---------------------------------------------------------------- what can be done now

  // The element that has the focus, in whatever frame.
  const active = (within = document) => {
    const element = within.activeElement;
    return element?.contentDocument ? active(element.contentDocument) : element;
  };

  const phrases = (query) => {
    const whole = (query.textContent || '').replace(/\s+/g, ' ').trim();
    const marked = [...query.querySelectorAll('span, b, strong')].map((part) => part.textContent.trim());
    const cited = [...whole.matchAll(/"([^"]*)"/g)].map((match) => match[1]);
    const words = whole.split(' ').map((word) => word.replace(/^[("']+|[)"'.,:;!?]+$/g, ''));
    return [...new Set([...cited, ...marked, ...words])].filter((phrase) => phrase && phrase.length <= 80);
  };

  const options = (found) => {
    const listed = [];
    const words = phrases(document.getElementById('query'));
    const goals = [...found].filter(([, element]) => canBeDragged(element) || (isDrawn(element) && element.tagName !== 'svg'));
    for (const [ref, element] of found) {
      if (scrolls(element)) {
        if (element.scrollTop > 0) listed.push(`scroll [${ref}] up`);
        if (element.scrollTop + element.clientHeight < element.scrollHeight - 1) listed.push(`scroll [${ref}] down`);
      }
      if (element.disabled) continue;
      const native = isField(element) || element.matches('button, input, a, .ui-slider-handle');
      if (native || canBeClicked(element)) listed.push(`click [${ref}]`);
      else if (canBeHovered(element) && !canBeDragged(element)) listed.push(`hover [${ref}]`);
      if (isField(element) && !element.readOnly) {
        const fitting = words.map((word) => typed(element, word)).filter((word) => word !== null);
        listed.push(...fitting.map((word) => `type [${ref}] ${JSON.stringify(word)}`));
      }
      if (element.tagName === 'SELECT') {
        const open = [...element.options].filter((option) => !option.disabled);
        listed.push(...open.map((option) => `select [${ref}] ${quoted(option.text)}`));
      }
      if (isEditor(element) || (selects && !native && !element.children.length)) {
        listed.push(`highlight [${ref}]`);
        const parts = words.filter((word) => isEditor(element) && element.textContent.includes(word));
        listed.push(...parts.map((word) => `highlight [${ref}] ${JSON.stringify(word)}`));
      }
      if (canBeDragged(element)) {
        listed.push(...goals.filter(([other]) => other !== ref).slice(0, 12).map(([other]) => `drag [${ref}] to [${other}]`));
        listed.push(...['40,0', '-40,0', '0,40', '0,-40'].map((by) => `drag [${ref}] by ${by}`));
      }
    }
    const focused = active();
    if (focused && isField(focused)) listed.push('press Enter', 'press Backspace');
    if (focused?.matches('.ui-slider-handle, input[type=range]')) listed.push('press ArrowLeft', 'press ArrowRight');
    listed.push('wait');
    return [...new Set(listed)];
  };

  // What a field makes of a text: dates and times are typed as people write them; null where it takes none of it.
  const typed = (element, text) => {
    const type = element.type;
    if (type === 'date') {
      const parts = /^(\d{1,2})\/(\d{1,2})\/(\d{4})$/.exec(text);
      const date = parts ? `${parts[3]}-${parts[1].padStart(2, '0')}-${parts[2].padStart(2, '0')}` : text;
      return /^\d{4}-\d{2}-\d{2}$/.test(date) ? date : null;
    }
    if (type === 'time') {
      const parts = /^(\d{1,2}):(\d{2})(?: ?([AP])M)?$/i.exec(text);
      if (!parts) return null;
      const hour = parts[3] ? (Number(parts[1]) % 12) + (/p/i.test(parts[3]) ? 12 : 0) : Number(parts[1]);
      return `${String(hour).padStart(2, '0')}:${parts[2]}`;
    }
    if (type === 'number') return /^-?\d+(\.\d+)?$/.test(text) ? text : null;
    if (type === 'color') return /^#[0-9a-f]{6}$/i.test(text) ? text.toLowerCase() : null;
    return text;
  };

  Object.assign(window.dyna, { look, options, typed, isField, scrolls, active });
})();
