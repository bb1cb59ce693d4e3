"use strict";

const $ = (id) => document.getElementById(id);

// Values by key that outlive the page, where the browser keeps any. Each page has its own: its place and title
// name them. `works` is false where the browser refuses, as some do for files.
class Kept {
  constructor(name) {
    this.name = `hoox-async ${name} ${location.pathname} ${document.title}`;
    this.values = new Map();
    this.works = this.isKept();
    this.read();
  }
  // Asked with a key of its own: what this page last read may be older than what it would write over.
  isKept() {
    try {
      localStorage.setItem(`${this.name} probe`, "");
      localStorage.removeItem(`${this.name} probe`);
      return true;
    } catch {
      return false;
    }
  }
  read() {
    try {
      const text = localStorage.getItem(this.name);
      if (text) this.values = new Map(JSON.parse(text));
    } catch (error) {
      if (error instanceof DOMException) this.works = false; // else it is no text of ours: begin anew
    }
  }
  write() {
    try {
      localStorage.setItem(this.name, JSON.stringify([...this.values]));
    } catch {
      this.works = false;
    }
  }
  put(key, value) {
    if (this.works) this.read(); // another tab may have written
    if (value === null) this.values.delete(key);
    else this.values.set(key, value);
    this.write();
  }
  onChange(listener) {
    addEventListener("storage", (event) => {
      if (event.key !== this.name) return;
      this.values = new Map();
      this.read();
      listener();
    });
  }
}

function saveFile(name, value) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 1) + "\n"], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The button beside a command copies it.
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const code = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.firstChild.textContent = "Copied";
    setTimeout(() => { button.firstChild.textContent = "Copy"; }, 2000);
  } catch {
    getSelection().selectAllChildren(code); // the browser refuses: the user copies what is selected
  }
});
for (const node of document.querySelectorAll(".copy")) node.hidden = false;
