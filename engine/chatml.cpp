// The template of checkpoints that bring none: ChatML, with the words about tools that BSC's function-calling models
// were trained with (their published template is where these come from).
#include "engine/chat.h"

namespace alia {

const std::string_view chatml_template = R"({%- set rest = messages -%}
{%- set system = '' -%}
{%- set has_system = messages and messages[0].role == 'system' -%}
{%- if has_system -%}
    {%- set system = messages[0].content -%}
    {%- set rest = messages[1:] -%}
{%- endif -%}
{%- if tools -%}
    {{- '<|im_start|>system\n' -}}
    {%- if system -%}{{- system + '\n' -}}{%- endif -%}
    {{- "You have function-calling capabilities. You are provided with function signatures within <tools> </tools> XML tags. You may call one or more functions to assist with the user query. Don't make assumptions about what values to plug into functions.\n<tools>\n" -}}
    {{- tools -}}
    {{- '\n</tools>\nFor each function call return a json object with function name and arguments within <tool_call> </tool_call> tags with the following schema:\n<tool_call>\n{"name": <function-name>, "arguments": <args-dict>}\n</tool_call><|im_end|>\n' -}}
{%- elif has_system -%}
    {{- '<|im_start|>system\n' + system + '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in rest -%}
    {%- if message.role == 'tool' -%}
        {%- if not loop.previtem or loop.previtem.role != 'tool' -%}{{- '<|im_start|>tool\n' -}}{%- endif -%}
        {{- '<tool_response' -}}
        {%- if message.name -%}{{- ' name="' + message.name + '"' -}}{%- endif -%}
        {{- '>\n' -}}{{- message.content -}}{{- '\n</tool_response>\n' -}}
        {%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\n' -}}{%- endif -%}
    {%- else -%}
        {{- '<|im_start|>' + message.role + '\n' -}}
        {%- set content = message.content or '' -%}
        {{- content | trim if tools else content -}}
        {%- for call in message.tool_calls or [] -%}
            {%- set f = call.function or call -%}
            {%- if not loop.first or content -%}{{- '\n' -}}{%- endif -%}
            {{- '<tool_call>\n{"name": "' + f.name + '", "arguments": ' -}}
            {{- f.arguments if f.arguments is string else f.arguments | tojson -}}
            {{- ' }\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%})";

}  // namespace alia
