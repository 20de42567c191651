// What the command line says, in Spanish.
#include <unordered_map>

#include "bindings/cli/language.h"

namespace cli {

std::string_view spanish(std::string_view english) {
    static const std::unordered_map<std::string_view, std::string_view> texts = {
        // Headings of helps
        {"Usage", "Uso"},
        {"Positionals", "Argumentos"},
        {"OPTIONS", "OPCIONES"},
        {"REQUIRED", "OBLIGATORIO"},
        {"Needs", "Necesita"},
        {"Excludes", "Excluye"},
        {"SUBCOMMAND", "ORDEN"},
        {"Print this help message and exit", "muestra esta ayuda y termina"},
        {"Display program version information and exit", "muestra la versión y termina"},
        {"language of these texts: en or es (without it: the locale's)",
         "idioma de estos textos: en o es (sin ella: el de la configuración regional)"},
        {"Runs the ALIA language models, and others of the Llama family.",
         "Ejecuta los modelos de lenguaje ALIA y otros de la familia Llama."},

        // Commands
        {"Answer a prompt, or continue a text", "Responde a una pregunta, o continúa un texto"},
        {"Talk with a model", "Conversa con un modelo"},
        {"Answer a file of requests, many at once; can be interrupted",
         "Responde a un fichero de peticiones, muchas a la vez; se puede interrumpir"},
        {"Turn texts into vectors", "Convierte textos en vectores"},
        {"Say what a model is, from its headers alone", "Dice qué es un modelo, leyendo solo sus cabeceras"},
        {"Say what running a model takes of memory, without loading it",
         "Dice cuánta memoria ocupa ejecutar un modelo, sin cargarlo"},
        {"Say what this machine has, and where a model would run and why",
         "Dice qué tiene esta máquina, y dónde y por qué se ejecutaría un modelo"},
        {"Turn text into token ids, or back", "Convierte texto en identificadores de tokens, o al revés"},
        {"Write the logits at every position of given tokens", "Escribe los logits de cada posición de unos tokens"},
        {"Measure how fast a model is, beside the machine's limits",
         "Mide la velocidad de un modelo, junto a los límites de la máquina"},
        {"Measure how well a model foretells texts", "Mide lo bien que un modelo predice textos"},
        {"Measure which weights texts need most, for `alia quantize`",
         "Mide qué pesos necesitan más los textos, para `alia quantize`"},
        {"Write a model as a GGUF file in another number format",
         "Escribe un modelo como fichero GGUF con otro formato de números"},

        // Options
        {"a GGUF file, a model directory, or a .safetensors file",
         "un fichero GGUF, el directorio de un modelo, o un fichero .safetensors"},
        {"auto, cpu, cpu:avx512, cpu:avx2, cpu:base, ref (without it: $ALIA_DEVICE, else auto)",
         "auto, cpu, cpu:avx512, cpu:avx2, cpu:base, ref (sin ella: $ALIA_DEVICE o, si no, auto)"},
        {"threads of CPU devices (0: what the machine allows)",
         "hilos de los dispositivos CPU (0: los que permita la máquina)"},
        {"each of these threads keeps to one processor", "cada uno de esos hilos se queda en un procesador"},
        {"format of the KV cache (without it: the device's choice)",
         "formato de la caché KV (sin ella: el que elija el dispositivo)"},
        {"tokens to generate at most (-1: until the answer or the context ends)",
         "tokens que se generan como mucho (-1: hasta que acabe la respuesta o el contexto)"},
        {"temperature; 0 takes the best token (-1: the checkpoint's, else 0)",
         "temperatura; 0 toma el mejor token (-1: la del modelo o, si no, 0)"},
        {"keep the best tokens whose probability reaches it (1: off)",
         "deja los mejores tokens cuya probabilidad la alcanza (1: ninguno se quita)"},
        {"keep the best so many tokens (0: off)", "deja tantos de los mejores tokens (0: todos)"},
        {"keep tokens of at least this share of the best one's probability (0: off)",
         "deja los tokens con al menos esta parte de la probabilidad del mejor (0: todos)"},
        {"the same seed gives the same text", "la misma semilla da el mismo texto"},
        {"positions of the KV cache", "posiciones de la caché KV"},
        {"positions of the KV cache: the longest conversation", "posiciones de la caché KV: la conversación más larga"},
        {"positions of the KV cache, and of the longest text", "posiciones de la caché KV, y del texto más largo"},
        {"positions of the longest request", "posiciones de la petición más larga"},
        {"of the KV cache, for all requests together (0: as --ctx)",
         "de la caché KV, para todas las peticiones juntas (0: como --ctx)"},
        {"requests that run at once", "peticiones que se atienden a la vez"},
        {"one JSON object on standard output", "un objeto JSON en la salida estándar"},
        {"one JSON object on standard output instead of text and summary",
         "un objeto JSON en la salida estándar en vez de texto y resumen"},
        {"one JSON object on standard output, every tensor in it",
         "un objeto JSON en la salida estándar, con todos los tensores"},
        {"a JSON object for each answer, a line each", "un objeto JSON por respuesta, cada uno en una línea"},
        {"JSON Lines, which is what comes where standard output is no terminal",
         "JSON Lines, que es lo que sale si la salida estándar no es un terminal"},
        {"JSON Lines on standard output, one for each speed, instead of the table",
         "JSON Lines en la salida estándar, una por velocidad, en vez de la tabla"},
        {"the question or text (without it: standard input)", "la pregunta o el texto (sin él: la entrada estándar)"},
        {"the system message; without it the template's own, or none",
         "el mensaje de sistema; sin él, el de la plantilla o ninguno"},
        {"continue the text as it stands, without chat turns", "continúa el texto tal cual, sin turnos de chat"},
        {"a conversation that /save wrote", "una conversación que escribió /save"},
        {"JSON Lines, a request each", "JSON Lines, una petición en cada una"},
        {"the results, JSON Lines; where it exists, what it lacks is added",
         "los resultados, JSON Lines; si ya existe, se añade lo que le falta"},
        {"a system message before every line's", "un mensaje de sistema delante de los de cada línea"},
        {"each \"prompt\" is a text to continue, without chat turns",
         "cada \"prompt\" es un texto que se continúa, sin turnos de chat"},
        {"the texts (without any, and without --file: lines of standard input)",
         "los textos (sin ellos y sin --file: las líneas de la entrada estándar)"},
        {"a file with a text a line; - is standard input",
         "un fichero con un texto por línea; - es la entrada estándar"},
        {"of the tokens' last hidden states: mean, or last (without it: mean)",
         "de los últimos estados ocultos de los tokens: mean (la media) o last (el último; sin ella: mean)"},
        {"vectors of length 1", "vectores de longitud 1"},
        {"a model, to say what it takes on each device", "un modelo, para decir qué ocupa en cada dispositivo"},
        {"a model, tokenizer.json, tokenizer.model, or a directory with one",
         "un modelo, tokenizer.json, tokenizer.model, o un directorio con uno de ellos"},
        {"accepted as in every command; tokenizers need none",
         "se acepta como en toda orden; los tokenizadores no lo necesitan"},
        {"the text, or with --decode the ids (without it: standard input)",
         "el texto o, con --decode, los identificadores (sin él: la entrada estándar)"},
        {"JSON Lines from standard input: {\"text\": \"...\"} to {\"ids\": [...]}",
         "JSON Lines de la entrada estándar: de {\"text\": \"...\"} a {\"ids\": [...]}"},
        {"add nothing around the text, such as a first <s>", "no añade nada al texto, como un <s> al principio"},
        {"special tokens written in the text become those tokens (with --jsonl: as it is)",
         "los tokens especiales escritos en el texto pasan a serlo (con --jsonl ya es así)"},
        {"with --jsonl: special tokens written in a text stay letters",
         "con --jsonl: los tokens especiales escritos en un texto se quedan en letras"},
        {"the other way; special tokens are left out", "al revés; los tokens especiales se omiten"},
        {"with --decode: special tokens are written out", "con --decode: los tokens especiales se escriben"},
        {"file of token ids parted by white space, taken as they are",
         "fichero de identificadores de tokens separados por espacios, que se toman tal cual"},
        {"the .npy file: float32, one row a position", "el fichero .npy: float32, una fila por posición"},
        {"tokens in one step; any number gives the same bits",
         "tokens de cada paso; con cualquier número salen los mismos bits"},
        {"instead of MODEL: a shape with random weights, made on the device (alia-40b, salamandra-7b, salamandra-2b, "
         "tiny)",
         "en lugar de MODEL: una forma con pesos al azar, hechos en el dispositivo (alia-40b, salamandra-7b, "
         "salamandra-2b, tiny)"},
        {"with --synthetic: the format of every matrix, such as bf16, fp8, q8_0, q4_0",
         "con --synthetic: el formato de todas las matrices, como bf16, fp8, q8_0, q4_0"},
        {"with --synthetic: fewer layers", "con --synthetic: menos capas"},
        {"lengths of prompts", "longitudes de los textos de entrada"},
        {"tokens to generate (0: none)", "tokens que se generan (0: ninguno)"},
        {"sequences that generate at once", "secuencias que generan a la vez"},
        {"tokens in the cache before those that are generated", "tokens en la caché antes de los que se generan"},
        {"repetitions that count", "repeticiones que cuentan"},
        {"devices, as `alia run` takes them", "dispositivos, como los toma `alia run`"},
        {"prompt tokens in one step at most", "tokens de entrada de cada paso como mucho"},
        {"a text file; may be given several times", "un fichero de texto; puede darse varias veces"},
        {"tokens of a chunk", "tokens de un trozo"},
        {"keep the logits in this file, as a reference for other runs",
         "guarda los logits en este fichero, como referencia para otras veces"},
        {"compare with the logits that another run saved", "compara con los logits guardados otra vez"},
        {"the file, as llama.cpp's imatrix.gguf", "el fichero, como el imatrix.gguf de llama.cpp"},
        {"tokens of a chunk; each is read by itself", "tokens de un trozo; cada uno se lee por separado"},
        {"the matrix that gives the logits too, which takes their time",
         "también la matriz que da los logits, lo que lleva su tiempo"},
        {"the GGUF file to write; one that is there is replaced",
         "el fichero GGUF que se escribe; si ya existe, se reemplaza"},
        {"importance matrix by which errors are weighed (alia imatrix)",
         "matriz de importancia con la que se pesan los errores (alia imatrix)"},
        {"0: what the machine allows", "0: los que permita la máquina"},

        // Footers
        {"Exit codes: 0; 1 an error; 2 wrong usage; 130 interrupted.\n",
         "Códigos de salida: 0; 1 un error; 2 uso incorrecto; 130 interrumpido.\n"},
        {"Follows the checkpoint's chat template; without one, ChatML where the vocabulary has <|im_start|> and\n"
         "<|im_end|>. Special tokens written in PROMPT or --system stay plain letters. The first Ctrl-C ends the\n"
         "answer, the second the program.\n",
         "Sigue la plantilla de chat del modelo; sin ella, ChatML si el vocabulario tiene <|im_start|> y <|im_end|>.\n"
         "Los tokens especiales escritos en PROMPT o --system se quedan en letras. El primer Ctrl-C acaba la\n"
         "respuesta; el segundo, el programa.\n"},
        {"On a terminal lines can be edited and come back with the arrow keys, also those of earlier runs; elsewhere\n"
         "each line of standard input is a message. Only what is new of a conversation is processed. Lines that start\n"
         "with / are commands; /help lists them.\n",
         "En un terminal las líneas se pueden editar y vuelven con las flechas, también las de otros días; si no, "
         "cada\n"
         "línea de la entrada estándar es un mensaje. De una conversación solo se procesa lo nuevo. Las líneas que\n"
         "empiezan por / son órdenes; /help las enumera.\n"},
        {"A line is {\"prompt\": \"...\"} or {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}, and may "
         "have an\n"
         "\"id\", \"stop\" texts, \"metadata\" (not read), and max_tokens, min_tokens, temperature, top_k, top_p, "
         "min_p,\n"
         "seed, priority, deadline (milliseconds) and repetition_, frequency_ and presence_penalty in place of the\n"
         "command's options. Results come in the order in which they are done: \"line\", fingerprints (\"input\", "
         "\"options\",\n"
         "\"model\"), \"id\", \"text\", \"finish\" and counts of tokens, or \"error\" and \"status\". The same command "
         "after an\n"
         "interruption goes on where it was; one with another input, other options or another model is refused. Exit "
         "code 1\n"
         "where a line failed.\n",
         "Una línea es {\"prompt\": \"...\"} o {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}]}, y puede "
         "tener\n"
         "\"id\", textos \"stop\", \"metadata\" (no se lee), y max_tokens, min_tokens, temperature, top_k, top_p, "
         "min_p,\n"
         "seed, priority, deadline (milisegundos) y repetition_, frequency_ y presence_penalty en lugar de las "
         "opciones\n"
         "de la orden. Los resultados salen según se acaban: \"line\", huellas (\"input\", \"options\", \"model\"), "
         "\"id\",\n"
         "\"text\", \"finish\" y números de tokens, o \"error\" y \"status\". La misma orden tras una interrupción "
         "sigue "
         "donde\n"
         "estaba; con otra entrada, otras opciones u otro modelo se rechaza. El código de salida es 1 si falló una "
         "línea.\n"},
        {"Each line is {\"index\", \"text\", \"tokens\", \"embedding\"}. On a terminal comes a table instead, with "
         "the\n"
         "cosine of each text's vector to the first one's.\n",
         "Cada línea es {\"index\", \"text\", \"tokens\", \"embedding\"}. En un terminal sale en cambio una tabla, con "
         "el\n"
         "coseno entre el vector de cada texto y el del primero.\n"},
        {"Special tokens around a text are added unless --no-special. Those written inside a text are parsed\n"
         "with --jsonl, as Hugging Face does, and are plain letters without it.\n",
         "Los tokens especiales que rodean un texto se añaden salvo con --no-special. Los escritos dentro de un texto "
         "se\n"
         "interpretan con --jsonl, como hace Hugging Face, y sin ella son simples letras.\n"},
        {"Speeds are medians over the repetitions. Generation is compared with how fast the weights (without the\n"
         "embedding table) and the cache can be read, which is measured in turn with a few tokens at a time, a prompt\n"
         "with how fast the best instruction for its weights multiplies. Tokens are arbitrary; choosing one is\n"
         "included. Of several streams the speed is that of all together.\n",
         "Las velocidades son medianas de las repeticiones. La generación se compara con lo rápido que se pueden\n"
         "leer los pesos (sin la tabla de embeddings) y la caché, que se mide por turnos con unos pocos tokens; la\n"
         "entrada, con lo rápido que multiplica la mejor instrucción para sus pesos. Los tokens son cualesquiera; se\n"
         "incluye el tiempo de elegir cada uno. Con varias secuencias la velocidad es la de todas juntas.\n"},
        {"A text is cut into chunks of --context tokens, each read by itself and starting with what the tokenizer "
         "puts\n"
         "before a text (<s>, or nothing). Every token that has another before it in its chunk counts, the first ones\n"
         "too; special tokens spelled in a text are letters. Standard errors take positions as independent.\n"
         "KL is the divergence from the reference to this model in nats; same top: share of positions with the same\n"
         "best token.\n",
         "Un texto se corta en trozos de --context tokens, que se leen por separado y empiezan con lo que el "
         "tokenizador\n"
         "pone ante un texto (<s>, o nada). Cuenta todo token que tiene otro delante en su trozo, también los "
         "primeros;\n"
         "los tokens especiales escritos en un texto son letras. Los errores típicos toman las posiciones como\n"
         "independientes. KL es la divergencia de la referencia a este modelo, en nats; same top, la parte de las\n"
         "posiciones con el mismo mejor token.\n"},
        {"Texts should be of the kind and the languages that the model is for; some 100,000 tokens are plenty.\n",
         "Los textos deberían ser de la clase y las lenguas para las que es el modelo; bastan unos 100 000 tokens.\n"},
        {"Rows that are no multiple of a format's blocks get the format named as fallback.\n",
         "Las filas que no son múltiplo de los bloques de un formato reciben el que se nombra como alternativo.\n"},

        // doctor
        {"processor", "procesador"},
        {"instructions", "instrucciones"},
        {"threads", "hilos"},
        {"memory", "memoria"},
        {"huge pages", "páginas grandes"},
        {"devices", "dispositivos"},
        {"model", "modelo"},
        {"models run on", "los modelos van en"},
        {"it runs on", "va en"},
        {"%.0f of %.0f processors%s%s", "%.0f de %.0f procesadores%s%s"},
        {"; the affinity mask allows %.0f", "; la máscara de afinidad permite %.0f"},
        {"; the control group allows the time of %.2f", "; el grupo de control permite el tiempo de %.2f"},
        {" available", " libres"},
        {"; the control group allows ", "; el grupo de control permite "},
        {" and uses ", " y usa "},
        {"never; weights and caches would be read faster with madvise",
         "never; con madvise los pesos y las cachés se leerían más deprisa"},
        {"the system has none", "el sistema no las tiene"},
        {", so that weights and caches have them", ", así que los pesos y las cachés las tienen"},
        {"this build of libalia has no CUDA device; use \"cpu\"",
         "esta libalia está compilada sin dispositivo CUDA; usa \"cpu\""},
        {"built with CUDA ", "compilada con CUDA "},
        {"; the driver has ", "; el controlador tiene "},
        {": yes, the one that auto takes", ": sí, el que toma auto"},
        {": yes", ": sí"},
        {": no", ": no"},
        {" of ", " de "},
        {", fits", ", cabe"},
        {", does not fit", ", no cabe"},
        {"the best device here", "el mejor dispositivo de aquí"},
        {"the environment's ALIA_DEVICE asks for it", "lo pide ALIA_DEVICE, del entorno"},
        {"; it cannot: ", "; no puede: "},
        {"; the model does not fit in its memory", "; el modelo no cabe en su memoria"},
        {", and fits on ", ", y cabe en "},
        {": use --device ", ": usa --device "},

        // While it works
        {"/reset        forget the conversation; the system message stays\n"
         "/save FILE    write the conversation as JSON\n"
         "/load FILE    take up a saved conversation\n"
         "/help         these lines\n"
         "/quit         leave (Ctrl-D too)\n"
         "Ctrl-C interrupts an answer; what was said of it stays. A line that starts with // is sent with one /.\n",
         "/reset        olvida la conversación; el mensaje de sistema se queda\n"
         "/save FICHERO escribe la conversación como JSON\n"
         "/load FICHERO retoma una conversación guardada\n"
         "/help         estas líneas\n"
         "/quit         termina (también Ctrl-D)\n"
         "Ctrl-C interrumpe una respuesta; lo ya dicho se queda. Una línea que empieza por // se envía con una sola "
         "/.\n"},
        {"loading", "cargando"},
        {"answering", "respondiendo"},
        {"embedding", "calculando"},
        {"/help lists what else than a message can be typed; Ctrl-D leaves",
         "/help dice qué se puede escribir además de mensajes; Ctrl-D termina"},
        {"a new conversation", "conversación nueva"},
        {"ended by %s", "acabó por: %s"},
        {"%zu messages in %s", "%zu mensajes en %s"},
        {"%zu messages from %s", "%zu mensajes de %s"},
        {"%s is no command; /help lists them", "%s no es una orden; /help las enumera"},
        {"%s needs the name of a file", "%s necesita el nombre de un fichero"},
        {"/reset begins anew; --ctx makes room for longer conversations",
         "/reset empieza de nuevo; --ctx hace sitio para conversaciones más largas"},
        {"%zu of %zu lines done, %zu of them now; %lld tokens generated, %.1f tokens/s",
         "%zu de %zu líneas hechas, %zu de ellas ahora; %lld tokens generados, %.1f tokens/s"},
        {"failed: %zu; \"error\" in %s says why", "fallaron: %zu; \"error\" en %s dice por qué"},
        {"interrupted; lines left: %zu. The same command goes on with them",
         "interrumpido; líneas que faltan: %zu. La misma orden sigue con ellas"},
        {"load %.2f s; prompt %lld tokens, %.1f tokens/s; generated %lld tokens, %.1f tokens/s; peak memory %s",
         "carga %.2f s; entrada %lld tokens, %.1f tokens/s; generados %lld tokens, %.1f tokens/s; memoria máxima %s"},
        {"; ended by %s", "; acabó por: %s"},
    };
    const auto found = texts.find(english);
    return found == texts.end() ? std::string_view() : found->second;
}

}  // namespace cli
