// The command line's own words in the user's language.
#include "bindings/cli/language.h"

#include <cstdlib>

namespace cli {
namespace {

bool in_spanish = false;

std::string translated(const std::string& english) {
    const std::string_view found = spanish(english);
    return found.empty() ? english : std::string(found);
}

// A footer whose examples, and their heading, stand behind what it says.
std::string translated_footer(const std::string& footer) {
    const size_t at = footer.find("Example");
    if (at == footer.npos) return translated(footer);
    const size_t line = footer.find('\n', at);
    return translated(footer.substr(0, at)) + (footer[at + 7] == 's' ? "Ejemplos:" : "Ejemplo:") + footer.substr(line);
}

}  // namespace

void choose_language(std::string_view asked) {
    for (const char* name : {"LC_ALL", "LC_MESSAGES", "LANG"}) {
        if (!asked.empty()) break;
        if (const char* value = std::getenv(name)) asked = value;
    }
    in_spanish = asked == "es" || asked.starts_with("es_") || asked.starts_with("es.");
}

const char* tr(const char* english) {
    const std::string_view found = in_spanish ? spanish(english) : std::string_view();
    return found.empty() ? english : found.data();
}

void translate(CLI::App& app) {
    if (!in_spanish) return;
    auto words = std::make_shared<CLI::Formatter>();
    for (const char* label : {"Usage", "Positionals", "OPTIONS", "REQUIRED", "Needs", "Excludes", "SUBCOMMAND"})
        words->label(label, tr(label));
    app.formatter(words);
    app.description(translated(app.get_description()));
    app.footer(translated_footer(app.get_footer()));
    for (CLI::Option* option : app.get_options()) {
        option->description(translated(option->get_description()));
        if (option->get_group() == "Options") option->group("Opciones");
    }
    for (CLI::App* command : app.get_subcommands({})) {
        command->group("Órdenes");
        translate(*command);
    }
}

}  // namespace cli
