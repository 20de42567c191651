// Python's % on texts, and strftime.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/template_render.h"

namespace alia::jinja {
namespace {

constexpr const char* months[] = {"January", "February", "March",     "April",   "May",      "June",
                                  "July",    "August",   "September", "October", "November", "December"};
constexpr const char* weekdays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

}  // namespace

// %s, %r, %d, %i, %f with an optional precision, and %%.
Text Renderer::percent_format(const Text& format, const std::vector<Value>& values) {
    const std::string& all = format.bytes;
    Text out;
    size_t next = 0;
    for (size_t at = 0; at < all.size();) {
        const size_t found = std::min(all.find('%', at), all.size());
        out.append(format, at, found);
        if (found == all.size()) break;
        size_t letter = found + 1, places = 6;
        if (letter + 1 < all.size() && all[letter] == '.' && all[letter + 1] >= '0' && all[letter + 1] <= '9')
            places = size_t(all[letter + 1] - '0'), letter += 2;
        const char c = letter < all.size() ? all[letter] : 0;
        at = letter + 1;
        if (c == '%') {
            out.append(format, letter, letter + 1);
            continue;
        }
        if (!c || std::string_view("srdif").find(c) == std::string_view::npos)
            fail(Status::unsupported, "a format other than %%s, %%r, %%d and %%f");
        if (next == values.size()) fail("not enough arguments for format string");
        const Value& v = values[next++];
        if (c == 's') {
            out.append(printed(v));
        } else if (c == 'r') {
            print_repr(heap, v, out);
        } else {
            if (!v.number()) fail("%%%c format: a real number is required, not %s", c, type_name(v));
            if (c != 'f' && !std::isfinite(v.as_real()))
                fail("cannot convert float %s to integer", std::isnan(v.real) ? "NaN" : "infinity");
            char digits[400];
            if (c == 'f')
                std::snprintf(digits, sizeof digits, "%.*f", int(places), v.as_real());
            else
                std::snprintf(digits, sizeof digits, "%lld",
                              (long long)(v.whole() ? v.as_integer() : int64_t(std::clamp(v.real, -9e18, 9e18))));
            out.append(digits, v.input);
        }
    }
    if (next < values.size()) fail("not all arguments converted during string formatting");
    return out;
}

std::string format_time(std::string_view format, int64_t seconds) {
    using namespace std::chrono;
    constexpr int64_t range = int64_t(100000) * 366 * 86400;
    const sys_seconds time{std::chrono::seconds(std::clamp(seconds, -range, range))};
    const sys_days day = floor<days>(time);
    const year_month_day date{day};
    const weekday week{day};
    const hh_mm_ss clock{time - day};
    const int year = int(date.year()), month = int(unsigned(date.month())), hour = int(clock.hours().count());
    const int of_year = int((day - sys_days{date.year() / 1 / 1}).count()) + 1;
    std::string out;
    auto number = [&](int value, int width, bool pad, char with = '0') {
        std::string digits = std::to_string(value);
        if (pad && int(digits.size()) < width) digits.insert(0, size_t(width) - digits.size(), with);
        out += digits;
    };
    auto write = [&](auto&& self, char c, bool pad) -> bool {
        switch (c) {
            case 'a':
                out.append(weekdays[week.c_encoding()], 3);
                return true;
            case 'A':
                out += weekdays[week.c_encoding()];
                return true;
            case 'b':
            case 'h':
                out.append(months[month - 1], 3);
                return true;
            case 'B':
                out += months[month - 1];
                return true;
            case 'd':
                number(int(unsigned(date.day())), 2, pad);
                return true;
            case 'e':
                number(int(unsigned(date.day())), 2, pad, ' ');
                return true;
            case 'm':
                number(month, 2, pad);
                return true;
            case 'y':
                number((year % 100 + 100) % 100, 2, pad);
                return true;
            case 'Y':
                number(year, 1, pad);
                return true;
            case 'H':
                number(hour, 2, pad);
                return true;
            case 'I':
                number((hour + 11) % 12 + 1, 2, pad);
                return true;
            case 'p':
                out += hour < 12 ? "AM" : "PM";
                return true;
            case 'M':
                number(int(clock.minutes().count()), 2, pad);
                return true;
            case 'S':
                number(int(clock.seconds().count()), 2, pad);
                return true;
            case 'f':
                out += "000000";
                return true;
            case 'j':
                number(of_year, 3, pad);
                return true;
            case 'w':
                number(int(week.c_encoding()), 1, pad);
                return true;
            case 'u':
                number(int(week.iso_encoding()), 1, pad);
                return true;
            case 's':
                out += std::to_string(seconds);
                return true;
            case 'z':
            case 'Z':
                return true;  // Python's datetimes without a zone give nothing
            case '%':
                out += '%';
                return true;
            case 'F':
                self(self, 'Y', true), out += '-', self(self, 'm', true), out += '-';
                return self(self, 'd', true);
            case 'T':
                self(self, 'H', true), out += ':', self(self, 'M', true), out += ':';
                return self(self, 'S', true);
            case 'R':
                self(self, 'H', true), out += ':';
                return self(self, 'M', true);
            case 'D':
            case 'x':
                self(self, 'm', true), out += '/', self(self, 'd', true), out += '/';
                return self(self, 'y', true);
            case 'X':
                return self(self, 'T', true);
            case 'n':
                out += '\n';
                return true;
            case 't':
                out += '\t';
                return true;
            default:
                return false;
        }
    };
    for (size_t i = 0; i < format.size(); ++i) {
        if (format[i] != '%' || i + 1 == format.size()) {
            out += format[i];
            continue;
        }
        const bool bare = format[i + 1] == '-' && i + 2 < format.size();
        const size_t letter = i + 1 + bare;
        if (!write(write, format[letter], !bare)) out += format.substr(i, letter + 1 - i);
        i = letter;
    }
    return out;
}

}  // namespace alia::jinja
