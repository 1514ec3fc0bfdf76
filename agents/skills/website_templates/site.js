// Makes the page nicer to use; all of it can be read and reached without.
(function () {
  "use strict";
  var root = document.documentElement;

  function remembered() {
    try { return localStorage.getItem("look"); } catch (error) { return null; }
  }
  function remember(look) {
    try { localStorage.setItem("look", look); } catch (error) { /* private window: the choice ends with the page */ }
  }

  var kept = remembered();
  if (kept === "dark" || kept === "light") { root.setAttribute("data-look", kept); }

  function isDark() {
    var look = root.getAttribute("data-look");
    return look ? look === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  var look = document.querySelector(".look");
  if (look) {
    look.hidden = false;
    look.setAttribute("aria-pressed", String(isDark()));
    look.addEventListener("click", function () {
      var next = isDark() ? "light" : "dark";
      root.setAttribute("data-look", next);
      look.setAttribute("aria-pressed", String(next === "dark"));
      remember(next);
    });
  }

  var button = document.querySelector(".menu-button");
  var menu = document.getElementById("menu");
  if (button && menu) {
    root.classList.add("scripted");
    button.hidden = false;
    var show = function (open) {
      button.setAttribute("aria-expanded", String(open));
      menu.classList.toggle("open", open);
    };
    button.addEventListener("click", function () {
      show(button.getAttribute("aria-expanded") !== "true");
    });
    document.addEventListener("keydown", function (event) {
      if (event.key === "Escape" && menu.classList.contains("open")) { show(false); button.focus(); }
    });
  }

  // A form that needs no server: the visitor's own mail program gets what was written.
  Array.prototype.forEach.call(document.querySelectorAll("form[data-mail]"), function (form) {
    form.addEventListener("submit", function (event) {
      event.preventDefault();
      var value = function (name) { return form.elements[name].value.trim(); };
      var body = value("text") + "\n\n" + value("name") + "\n" + value("mail");
      window.location.href = "mailto:" + form.getAttribute("data-mail") +
        "?subject=" + encodeURIComponent(document.title) + "&body=" + encodeURIComponent(body);
      form.querySelector("[role=status]").textContent = "Your mail program should open now.";
    });
  });
})();
