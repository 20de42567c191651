// Lines that a person types, with editing and a history that stays.
#include "bindings/cli/line_editor.h"

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <filesystem>
#include <histedit.h>
#include <poll.h>
#include <unistd.h>

#include "bindings/cli/client.h"
#include "bindings/cli/terminal.h"

namespace cli {
namespace {

// Where the history stays: "" where there is no place for it.
std::string history_file(const std::string& name) {
    const char* state = std::getenv("XDG_STATE_HOME");
    const char* home = std::getenv("HOME");
    std::filesystem::path folder;
    if (state && *state == '/')
        folder = state;
    else if (home && *home == '/')
        folder = std::filesystem::path(home) / ".local/state";
    else
        return {};
    std::error_code failed;
    std::filesystem::create_directories(folder / "libalia", failed);
    return failed ? std::string() : (folder / "libalia" / name).string();
}

// Waits for standard input; false where an interrupt comes first, even one that came just before.
bool wait_for_input() {
    constexpr int moment = 100;  // milliseconds
    pollfd input{STDIN_FILENO, POLLIN, 0};
    while (!interrupted())
        if (poll(&input, 1, moment) > 0) return true;
    return false;
}

// One character. Unlike libedit's own it gives up at an interrupt.
int read_character(EditLine*, wchar_t* to) {
    std::mbstate_t state = {};
    while (wait_for_input()) {
        char byte;
        const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return int(n);
        const size_t length = std::mbrtowc(to, &byte, 1, &state);
        if (length == size_t(-1)) state = {};  // no character: the byte is dropped
        if (length <= 1) return 1;
    }
    return -1;
}

}  // namespace

struct LineEditor::Terminal {
    EditLine* edit;
    History* lines;
    std::string prompt, file;

    static char* prompt_of(EditLine* e) {
        Terminal* self = nullptr;
        el_get(e, EL_CLIENTDATA, &self);
        return self->prompt.data();
    }

    Terminal(const std::string& name, const char* p) : prompt(p), file(history_file(name)) {
        std::setlocale(LC_CTYPE, "");
        edit = el_init("alia", stdin, stdout, stderr);
        lines = history_init();
        if (!edit || !lines) throw Failure("the terminal cannot be used for editing", ALIA_IO);
        HistEvent event;
        history(lines, &event, H_SETSIZE, 1000);
        history(lines, &event, H_SETUNIQUE, 1);
        if (!file.empty()) history(lines, &event, H_LOAD, file.c_str());
        el_set(edit, EL_CLIENTDATA, this);
        el_set(edit, EL_PROMPT, prompt_of);
        el_set(edit, EL_EDITOR, "emacs");
        el_set(edit, EL_HIST, history, lines);
        el_set(edit, EL_GETCFN, read_character);
        el_source(edit, nullptr);  // ~/.editrc
    }
    ~Terminal() {
        if (edit) el_end(edit);
        if (lines) history_end(lines);
    }

    std::optional<std::string> read() {
        int count = 0;
        const char* text = el_gets(edit, &count);
        if (!text && interrupted()) {
            el_reset(edit);
            std::fputc('\n', stdout);
            return "";
        }
        if (!text || count <= 0) {
            std::fputc('\n', stdout);
            return {};
        }
        std::string line(text, size_t(count));
        if (line.ends_with('\n')) line.pop_back();
        HistEvent event;
        if (!line.empty()) history(lines, &event, H_ENTER, line.c_str());
        if (!line.empty() && !file.empty()) history(lines, &event, H_SAVE, file.c_str());
        return line;
    }
};

LineEditor::LineEditor(const std::string& name, const char* prompt) {
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) terminal = std::make_unique<Terminal>(name, prompt);
}
LineEditor::~LineEditor() = default;

bool LineEditor::on_terminal() const { return terminal != nullptr; }

std::optional<std::string> LineEditor::read() {
    if (terminal) return terminal->read();
    size_t end;
    while ((end = typed.find('\n')) == typed.npos && !over) {
        if (!wait_for_input()) return "";
        char bytes[4096];
        const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0 && errno != EINTR) throw Failure(std::string("standard input: ") + std::strerror(errno), ALIA_IO);
        over = n == 0;
        if (n > 0) typed.append(bytes, size_t(n));
    }
    if (typed.empty()) return {};
    std::string line = typed.substr(0, end);
    typed.erase(0, end == typed.npos ? end : end + 1);
    return line;
}

}  // namespace cli
