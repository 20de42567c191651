#!/usr/bin/env python3
"""server_page.py FOLDER [SCREENSHOTS [MODEL]]: the page at / of alia.server in a headless Chromium, driven by Playwright, which comes from
PyPI into FOLDER. The browser is Debian's `chromium`; without it the test is skipped. ALIA_LIBRARY names the library. What the page
looks like goes to the folder SCREENSHOTS, with an answer of MODEL where one is given."""
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import urllib.request
from pathlib import Path

from server_clients import install, serving, tiny

CHROMIUM = shutil.which("chromium")
MARKUP = "<img src=x onerror='window.ran = 1'><script>window.ran = 1</script> &amp; <b>b</b>"
PATIENCE = 180000  #: milliseconds until something that must come is given up, on a machine that does much else
SIZES = {"wide": (1280, 800), "narrow": (360, 640)}
#: The least contrast of a text to what is behind it, by WCAG 2's formula.
CONTRAST = """() => {
  const light = rgb => rgb.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(element).backgroundColor);
      if (a === 1) return [r, g, b];
    }
  };
  const shown = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest("script, style")
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  return shown.map(e => {
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.id || e.className || e.tagName];
  }).sort((a, b) => a[0] - b[0])[0];
}"""


def endless(folder):
    """The tiny model, whose greedy answers never end: the logits of its end tokens are 0."""
    tiny.write(folder)
    path = Path(folder) / "model.safetensors"
    weights = bytearray(path.read_bytes())
    start = 8 + struct.unpack("<Q", weights[:8])[0]
    head = json.loads(weights[8:start])["lm_head.weight"]
    row = 4 * head["shape"][1]
    for token in (tiny.SPECIAL.index("</s>"), tiny.SPECIAL.index("<|im_end|>"), tiny.VOCABULARY.index("\n")):
        at = start + head["data_offsets"][0] + token * row
        weights[at:at + row] = bytes(row)
    path.write_bytes(weights)


def answer(url, messages, **options):
    body = json.dumps({"messages": messages, **options}).encode()
    request = urllib.request.Request(url + "/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]


class Talk:
    """A page, and what a user does and sees there. `close` says that nothing went wrong unseen."""

    def __init__(self, browser, url, size="wide", scheme="light", key=None):
        from playwright.sync_api import expect

        self.expect, self.url, self.trouble, self.hosts = expect, url, [], set()
        width, height = SIZES[size]
        self.page = page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.on("console", lambda message: self.trouble.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/v1/")[0].removesuffix("/").removesuffix("/health")))
        page.goto(url)
        self.message = page.get_by_role("textbox", name="Message")
        self.send, self.stop = page.get_by_role("button", name="Send"), page.get_by_role("button", name="Stop")
        self.answers, self.state = page.locator(".assistant"), page.get_by_role("status")
        if key is None:
            expect(page.get_by_role("heading", level=1)).to_have_text("tiny")
            expect(self.state).to_have_text("ready")

    def ask(self, text):
        """The text of the answer, once it is there."""
        before = self.answers.count()
        self.message.fill(text)
        self.message.press("Enter")
        self.expect(self.answers).to_have_count(before + 1)
        return self.finished()

    def finished(self):
        self.expect(self.send).to_be_visible()
        self.expect(self.stop).to_be_hidden()
        assert self.answers.last.get_attribute("aria-busy") == "false"
        return self.said(self.answers.last)

    @staticmethod
    def said(turn):
        return turn.evaluate("turn => [...turn.childNodes].slice(1).map(node => node.data).join('')")

    def options(self, **values):
        """By keyboard alone."""
        page = self.page
        page.get_by_role("button", name="Options").focus()
        page.keyboard.press("Enter")
        self.expect(page.get_by_role("dialog", name="Options")).to_be_visible()
        for name, value in values.items():
            page.get_by_label(name.replace("_", " "), exact=True).fill(str(value))
        page.keyboard.press("Escape")
        self.expect(page.get_by_role("dialog")).to_be_hidden()
        assert page.evaluate("document.activeElement.id") == "open"

    def close(self, *expected):
        assert self.hosts == {self.url}, self.hosts
        unexpected = [line for line in self.trouble if not any(word in line for word in expected)]
        assert not unexpected, unexpected
        self.page.close()


def conversation(browser, url):
    talk = Talk(browser, url)
    assert talk.page.evaluate("document.activeElement.id") == "message"
    talk.options(Most_tokens=40, Temperature=1, Seed=5, System_message="be kind")
    drawn = {"max_tokens": 40, "temperature": 1, "seed": 5}
    system, first = {"role": "system", "content": "be kind"}, {"role": "user", "content": "ab\ncd"}
    talk.message.focus()
    talk.page.keyboard.type("ab")
    talk.page.keyboard.press("Shift+Enter")
    talk.page.keyboard.type("cd")
    talk.page.keyboard.press("Enter")
    talk.expect(talk.answers).to_have_count(1)
    said = talk.finished()
    assert said == answer(url, [system, first], **drawn), said
    assert re.search(r"^\d+ tokens · [\d.]+ tokens/s", talk.page.locator(".told").inner_text())
    assert talk.page.locator(".user").inner_text().endswith("ab\ncd") and talk.message.input_value() == ""
    assert talk.page.evaluate("document.activeElement.id") == "message"

    # What was said stays over a reload, and is asked with.
    talk.page.reload()
    talk.expect(talk.state).to_have_text("ready")
    assert talk.said(talk.answers.first) == said
    with talk.page.expect_request("**/v1/chat/completions") as asked:
        second = talk.ask("more")
    sent = asked.value.post_data_json
    assert sent["messages"] == [system, first, {"role": "assistant", "content": said}, {"role": "user", "content": "more"}]
    assert {name: sent[name] for name in drawn} == drawn and second == answer(url, sent["messages"], **drawn)

    # A new one knows nothing of it.
    talk.page.get_by_role("button", name="New").click()
    talk.expect(talk.answers).to_have_count(0)
    assert talk.ask("ab\ncd") == said
    talk.close()


def markup(browser, url):
    """Neither what the user nor what the model says is HTML."""
    talk = Talk(browser, url)
    talk.options(Most_tokens=5, System_message=MARKUP)
    talk.ask(MARKUP)
    event = {"choices": [{"index": 0, "delta": {"content": MARKUP}, "finish_reason": None}]}
    talk.page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=200, content_type="text/event-stream", body=f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"))
    assert talk.ask("x") == MARKUP
    talk.page.reload()
    talk.expect(talk.state).to_have_text("ready")
    for turn in (talk.page.locator(".user").first, talk.answers.last):
        assert talk.said(turn) == MARKUP
    assert talk.page.locator("img, main script, main b:not(#hint b)").count() == 0 and talk.page.evaluate("window.ran") is None
    talk.close()


def stopping(browser, url):
    for stop in (lambda talk: talk.stop.click(), lambda talk: talk.page.keyboard.press("Escape")):
        talk = Talk(browser, url)
        talk.options(Temperature=0)
        talk.message.fill("ab")
        talk.send.click()
        talk.expect(talk.stop).to_be_visible()
        talk.expect(talk.answers).to_have_text(re.compile(r"[^\0]{200}"))  # it streams
        assert talk.answers.last.get_attribute("aria-busy") == "true"
        stop(talk)
        said = talk.finished()
        talk.expect(talk.page.locator(".told")).to_have_text("stopped")
        talk.options(Most_tokens=5)
        with talk.page.expect_request("**/v1/chat/completions") as asked:
            talk.ask("on")
        assert asked.value.post_data_json["messages"][1] == {"role": "assistant", "content": said}
        talk.close()
    talk = Talk(browser, url)
    talk.options(Temperature=0)
    talk.message.fill("ab")
    talk.send.click()
    talk.expect(talk.stop).to_be_visible()
    talk.page.get_by_role("button", name="New").click()
    talk.expect(talk.send).to_be_visible()
    talk.options(Most_tokens=5)
    assert talk.ask("ab") == answer(url, [{"role": "user", "content": "ab"}], max_tokens=5, temperature=0)
    assert talk.answers.count() == 1
    talk.close()


def errors(browser, serving_once):
    with serving_once as (url, _):
        talk = Talk(browser, url, key="right")
        talk.expect(talk.state).to_have_text("needs an API key, under Options")
        alert = talk.page.get_by_role("alert")
        talk.message.fill("hola")
        talk.send.click()
        talk.expect(alert).to_have_text("The server needs an API key: see Options.")
        assert talk.message.input_value() == "hola" and talk.page.locator(".user").count() == 0
        talk.options(API_key="right", Temperature=-5)
        talk.expect(talk.state).to_have_text("ready")
        talk.send.click()
        talk.expect(alert).to_have_text("temperature must be between 0 and 100.")
        talk.options(Temperature=0, Most_tokens=5)
        talk.message.press("Enter")
        talk.expect(talk.answers).to_have_count(1)
        talk.finished()
        talk.expect(alert).to_have_count(0)
        talk.options(Most_tokens=7000)
        talk.message.fill("ab")
        talk.send.click()
        talk.expect(alert).to_have_text("The answer was not complete within the server's time limit.")
        assert "right" not in json.dumps(talk.page.evaluate("({...sessionStorage, ...localStorage})"))
    talk.message.fill("ab")
    talk.send.click()
    talk.expect(alert).to_have_text("The server cannot be reached.")
    talk.close("Failed to load resource")


def looks(browser, url, pictures):
    """Wide and narrow, light and dark: all is in sight and reads well."""
    for size in SIZES:
        for scheme in ("light", "dark"):
            talk = Talk(browser, url, size, scheme)
            page = talk.page
            talk.options(Most_tokens=30, Temperature=1)
            talk.ask("a" * 200)
            for _ in range(4):
                talk.ask("hola")
            page.evaluate("turn('error', 'An error.')")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for one in (talk.message, talk.send, page.get_by_role("button", name="Options"), page.get_by_role("button", name="New"), page.locator(".error")):
                talk.expect(one).to_be_in_viewport(ratio=1)
            least, where = page.evaluate(CONTRAST)
            assert least >= 4.5, (size, scheme, where, least)
            reached = []
            page.locator("body").press("Tab")
            for _ in range(6):
                reached.append(page.evaluate("document.activeElement.id"))
                page.keyboard.press("Tab")
            assert {"clear", "open", "message", "send"} <= set(reached), reached
            if pictures:
                page.screenshot(path=pictures / f"{size}-{scheme}.png")
            page.get_by_role("button", name="Options").click()
            least, where = page.evaluate(CONTRAST)
            assert least >= 4.5 and page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (size, scheme, where, least)
            for role, name in (("textbox", "System message"), ("spinbutton", "Temperature"), ("spinbutton", "Top p"), ("spinbutton", "Most tokens"),
                               ("spinbutton", "Seed"), ("textbox", "API key"), ("button", "Done")):
                talk.expect(page.get_by_role(role, name=name)).to_be_visible()
            if pictures:
                page.screenshot(path=pictures / f"{size}-{scheme}-options.png")
            talk.close()


def picture(browser, model, pictures):
    """A conversation with a chat model, for the documentation."""
    with serving(model, "--name", Path(model).name.removesuffix(".gguf"), "--context", "2048") as (url, _):
        talk = Talk(browser, url, key="")
        talk.page.set_viewport_size({"width": 800, "height": 520})
        talk.options(System_message="Answer in one sentence.", Temperature=0)
        for question in ("What is the capital of Spain?", "And what is it known for?"):
            talk.ask(question)
        talk.page.screenshot(path=pictures / "page.png")
        talk.close()


def main(folder, pictures=None, model=None):
    if not CHROMIUM:
        print("the page: skipped, as there is no chromium (apt install chromium)")
        return
    folder = Path(folder).resolve()
    os.environ["ALIA_LIBRARY"] = str(Path(os.environ["ALIA_LIBRARY"]).resolve())
    sys.path.insert(0, install(folder / "playwright", "playwright")["PYTHONPATH"])
    from playwright.sync_api import sync_playwright

    if pictures:
        pictures = Path(pictures)
        pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tiny_model, tempfile.TemporaryDirectory() as endless_model, sync_playwright() as playwright:
        tiny.write(tiny_model)
        endless(endless_model)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(tiny_model) as (url, _):
            conversation(browser, url)
            markup(browser, url)
            looks(browser, url, pictures)
        # More than is generated in all that patience, so that only a stop ends an answer.
        with serving(endless_model, "--context", "400000") as (url, _):
            stopping(browser, url)
        errors(browser, serving(endless_model, "--time-limit", "1", ALIA_API_KEYS="right"))
        if model:
            picture(browser, model, pictures)
        browser.close()
    print("the page: conversations, markup, stops, errors, and looks, in Chromium", browser.version)


if __name__ == "__main__":
    main(*sys.argv[1:])
