/* adit manual [RESOURCE]: adit(1) and adit-user(1), out of the tables that do the work. */
#include "cli/help.h"
#include "cli/table.h"
#include "lib/base/version.h"

#include <stdio.h>
#include <string.h>

/* Text in a man page: no line begins a request, no backslash escapes, a dash is one to be typed. */
static void put(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (strncmp(text, "…", 3) == 0)
            fputs("\\&...", stdout), text += 2;
        else
            putchar(*text);
    }
}

static void put_line(const char *text)
{
    put(text);
    putchar('\n');
}

/* ".TP", the term in bold, what it is. */
static void put_term(const char *term, const char *rest, const char *what)
{
    fputs(".TP\n\\fB", stdout);
    put(term);
    fputs("\\fR", stdout);
    if (*rest) {
        fputs(" \\fI", stdout);
        put(rest);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    put_line(*what ? what : "as it says.");
}

static void put_head(const char *page, const char *what)
{
    fputs(".TH \"", stdout);
    for (const char *p = page; *p; p++)
        putchar(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    printf("\" \"1\" \"\" \"adit %s\" \"Adit\"\n.SH NAME\n", ADIT_VERSION);
    put(page);
    fputs(" \\- ", stdout);
    put_line(what);
}

static void put_exit_codes(void)
{
    static const struct { const char *code, *what; } codes[] = {
        { "0", "Done. Of status: all is well; of explain: allowed." },
        { "1", "Not done: the control plane refused. Of status: degraded; of explain: refused." },
        { "2", "Wrong usage, or nobody to ask. Of status: down." },
        { "3", "Somebody else changed the object in between; nothing was written." },
        { "4", "Done, but after 30 s not every relay runs it yet (--wait)." },
    };

    puts(".SH EXIT STATUS");
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        put_term(codes[i].code, "", codes[i].what);
}

static void put_environment(void)
{
    puts(".SH ENVIRONMENT");
    put_term("ADIT_CLI_VAR, ADIT_CLI_API, ADIT_CLI_CA_FILE, ADIT_CLI_TOKEN_FILE, ADIT_CLI_CONFIG", "",
             "stand in for the flags of these names.");
    put_term("ADIT_CLI_OUTPUT", "", "stands in for --output.");
    put_term("NO_COLOR", "", "No colours, on a terminal either.");
}

/* ---- adit(1) ---- */
static void put_main(void)
{
    const struct resource *resource;
    const struct sibling *sibling;
    const struct command *command;

    put_head("adit", "who may reach what inside closed networks, and through which agent");
    puts(".SH SYNOPSIS\n.B adit\n.I COMMAND\n[\\fIoption\\fR \\&...]\n.br\n.B adit\n.I RESOURCE VERB\n"
         "[\\fIname\\fR \\&...] [\\fIflag\\fR \\&...]\n.SH COMMANDS");
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (command->help)
            put_term(command->name, command->synopsis, command->help);
    }
    puts(".SH RESOURCES");
    for (size_t i = 0; (resource = resource_at(i)); i++)
        put_term(resource->word, "", resource->help);
    puts(".SH PROGRAMS");
    for (size_t i = 0; (sibling = sibling_at(i)); i++)
        put_term(sibling->name, "", sibling->help);
    put_environment();
    put_exit_codes();
    puts(".SH SEE ALSO");
    for (size_t i = 0; (resource = resource_at(i)); i++) {
        printf(".BR adit\\-");
        put(resource->word);
        printf(" (1)%s\n", resource_at(i + 1) ? "," : "");
    }
}

/* ---- adit-user(1) ---- */
static void put_verb(const struct resource *resource, enum verb_id verb)
{
    char text[512];
    struct flags flags;

    flags_of(resource, verb, &flags);
    fputs(".SS ", stdout);
    snprintf(text, sizeof(text), "\"adit %s %s %s\"", resource->word, verb_at(verb)->name,
             help_words(resource, verb));
    put_line(text);
    snprintf(text, sizeof(text), "%s", "It ");
    help_sentence(resource, verb, text + 3, sizeof(text) - 4);
    put(text);
    puts(".");
    for (size_t i = 0; i < flags.count; i++) {
        char name[80];

        if (flags.items[i].id == FLAG_SESSION)
            continue;
        snprintf(name, sizeof(name), "--%s", flags.items[i].name);
        put_term(name, flags.items[i].is_switch ? "" : flags.items[i].metavar,
                 help_value(&flags.items[i], text, sizeof(text)));
    }
}

static void put_connection(const struct resource *resource)
{
    char text[512];
    struct flags flags;

    flags_of(resource, VERB_LIST, &flags);
    puts(".SH \"WHICH CONTROL PLANE\"\nFlags that each of them takes.");
    for (size_t i = 0; i < flags.count; i++) {
        char name[80];

        if (flags.items[i].id != FLAG_SESSION)
            continue;
        snprintf(name, sizeof(name), "--%s", flags.items[i].name);
        put_term(name, flags.items[i].metavar, help_value(&flags.items[i], text, sizeof(text)));
    }
}

static void put_resource(const struct resource *resource)
{
    struct span rest = span_str(resource->examples), line;
    char page[80], text[512];

    snprintf(page, sizeof(page), "adit-%s", resource->word);
    put_head(page, resource->help);
    puts(".SH SYNOPSIS");
    printf(".B adit ");
    put(resource->word);
    puts("\n.I VERB\n[\\fIname\\fR \\&...] [\\fIflag\\fR \\&...]\n.SH VERBS");
    for (enum verb_id id = 0; id < VERB_COUNT; id++) {
        if (resource_has(resource, id))
            put_verb(resource, id);
    }
    put_connection(resource);
    puts(".SH EXAMPLES");
    while (span_cut(&rest, '\n', &line)) {
        if (!line.n || !span_copy(line, text, sizeof(text)))
            continue;
        puts(".PP\n.nf");
        put_line(text);
        puts(".fi");
    }
    put_environment();
    put_exit_codes();
    puts(".SH SEE ALSO\n.BR adit (1)");
}

int manual_command(int argc, char **argv)
{
    const struct resource *resource = argc == 2 ? resource_find(argv[1]) : NULL;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("Usage: adit manual [RESOURCE]\n"
             "Prints the manual page: adit manual user | man -l -");
        return EXIT_OK;
    }
    if (argc > 2 || (argc == 2 && !resource)) {
        command_complain("usage: adit manual [RESOURCE]; adit --help lists them");
        return EXIT_CANNOT;
    }
    if (resource)
        put_resource(resource);
    else
        put_main();
    return EXIT_OK;
}
