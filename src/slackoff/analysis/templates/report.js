for (const strip of document.querySelectorAll('.strip')) {
  const range = strip.querySelector('input');
  const place = percent => {
    range.value = percent;
    strip.style.setProperty('--at', percent + '%');
  };
  range.addEventListener('input', () => place(range.value));
  for (const picture of strip.querySelectorAll('.compare:not(.still)')) {
    const follow = event => {
      const box = picture.getBoundingClientRect();
      place(Math.max(0, Math.min(100, 100 * (event.clientX - box.left) / box.width)));
    };
    picture.addEventListener('pointerdown', event => { picture.setPointerCapture(event.pointerId); follow(event); });
    picture.addEventListener('pointermove', event => { if (event.buttons) follow(event); });
  }
}
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener('click', () => {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const value = row => row.cells[column].dataset.sort;
    const absent = text => text === '' || text === 'nan';
    const compare = (a, b) => a !== '' && b !== '' && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b);
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => absent(value(a)) - absent(value(b)) || (up ? 1 : -1) * compare(value(a), value(b)));
    table.tBodies[0].append(...rows);
  }));
}
