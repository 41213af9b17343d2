// The theme's labels are buttons to the hand, so they are to the keyboard: Enter is the theme's, Space and Escape are not.
addEventListener("keydown", (event) => {
  const drawer = document.getElementById("__drawer");
  if (event.key === " " && event.target.matches?.("label[tabindex]")) {
    event.preventDefault();
    event.target.click();
  }
  if (event.key === "Escape" && drawer?.checked) {
    drawer.click();
    document.querySelector(".md-header label[for=__drawer]")?.focus();
  }
});
