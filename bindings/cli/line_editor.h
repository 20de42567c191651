// Lines that a person types, with editing and a history that stays.
#pragma once
#include <memory>
#include <optional>
#include <string>

namespace cli {

class LineEditor {
  public:
    // On a terminal lines can be edited, and those of earlier runs come back with the arrow keys; elsewhere lines are
    // read as they stand. `name` names the history's file.
    LineEditor(const std::string& name, const char* prompt);
    ~LineEditor();
    LineEditor(const LineEditor&) = delete;
    LineEditor& operator=(const LineEditor&) = delete;

    bool on_terminal() const;
    // The next line without its end; nothing at the end of input. An interrupt gives an empty line, and interrupted()
    // says so.
    std::optional<std::string> read();

  private:
    struct Terminal;
    std::unique_ptr<Terminal> terminal;
    std::string typed;  // elsewhere: what was read and not given out yet
    bool over = false;  // and there is no more
};

}  // namespace cli
