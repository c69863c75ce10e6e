// Point at a token, or at a row of a matrix: what it may attend to stays, the rest fades.
for (const picture of document.querySelectorAll(".picture")) {
  const tokens = [...picture.querySelectorAll(".t[data-n]")];
  const matrices = [...picture.querySelectorAll("svg.matrix")];
  const find = (matrix, n) => tokens.find((t) => +t.dataset.matrix === matrix && +t.dataset.n === n);
  const show = (token) => {
    const ranges = token ? token.dataset.sees.split(" ").map((range) => range.split("-").map(Number)) : [];
    const sees = (other) => other.dataset.matrix === token.dataset.matrix
      && ranges.some(([first, last]) => first <= +other.dataset.n && +other.dataset.n <= last);
    picture.classList.toggle("pointed", Boolean(token));
    tokens.forEach((other) => {
      other.classList.toggle("seen-now", Boolean(token) && sees(other));
      other.classList.toggle("looks", other === token);
    });
    matrices.forEach((matrix, number) => {
      const row = matrix.querySelector(".row");
      row.style.visibility = token && +token.dataset.matrix === number ? "visible" : "hidden";
      if (token) row.setAttribute("y", token.dataset.n);
    });
  };
  tokens.forEach((token) => {
    token.addEventListener("pointerenter", () => show(token));
    token.addEventListener("pointerleave", () => show(null));
  });
  matrices.forEach((matrix, number) => {
    matrix.addEventListener("pointermove", (event) => {
      const box = matrix.getBoundingClientRect();
      const y = (event.clientY - box.top) * matrix.viewBox.baseVal.height / box.height;
      show(find(number, Math.floor((y - matrix.dataset.margin) / matrix.dataset.cell)) || null);
    });
    matrix.addEventListener("pointerleave", () => show(null));
  });
}
