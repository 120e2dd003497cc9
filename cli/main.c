/*
 * adit: one table of commands.  `adit relay …` and its sisters run the program beside this
 * one (adit-relay), git's way: so each machine has only what it needs.
 */
#include "cli/act.h"
#include "cli/command.h"
#include "cli/help.h"
#include "lib/base/version.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
    { "up", "", "run control plane, relay and a demo agent on this machine", up_command },
    { "status", "", "what runs, what is wrong, what to do", status_command },
    { "doctor", "", "check this machine and this installation", doctor_command },
    { "explain", "USER HOST:PORT", "who may reach what, and why not", explain_command },
    { "api", "METHOD PATH [JSON]", "any operation of the REST API", request_command },
    { "reason", "[CODE]", "what a reason code means", reason_command },
    { "demo-page", "", NULL, page_command },    /* run by adit up */
};

static const struct { const char *name, *help; } siblings[] = {
    { "controlplane", "the REST API, policy, certificates" },
    { "relay", "tunnels in, proxy doors out" },
    { "agent", "inside the closed network; adit agent join TOKEN" },
};

static void usage(FILE *out)
{
    const struct resource *r;

    fputs("usage: adit COMMAND [option…]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].help)
            fprintf(out, "  %-10s %-19s %s\n", commands[i].name, commands[i].synopsis,
                    commands[i].help);
    }
    fputs("\nWhat there is, and what is done with it (adit user --help, adit user create --help):\n\n", out);
    for (size_t i = 0; (r = resource_at(i)); i++)
        fprintf(out, "  %-30s %s\n", r->word, r->help);
    fputs("\nThe programs (adit agent list and adit relay list are about what they say above):\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++)
        fprintf(out, "  %-30s %s\n", siblings[i].name, siblings[i].help);
    fputs("\nadit COMMAND --help says more.  Exit codes: 0 done, 1 not done (status: degraded;\n"
          "explain: refused), 2 wrong usage or nothing to ask (status: down),\n"
          "3 somebody else changed it in between, 4 done, but not every relay runs it yet (--wait).\n", out);
}

static int run_sibling(const char *name, char **argv)
{
    char path[PATH_MAX];

    if (command_sibling(name, path, sizeof(path)) == 0) {
        argv[0] = path;
        execv(path, argv);
    }
    command_complain("adit-%s is not beside this program (%s)", name, strerror(errno));
    return EXIT_CANNOT;
}

static int complain_unknown(const char *word)
{
    const char *known[ARRAY_LEN(commands) + ARRAY_LEN(siblings) + RESOURCES_MAX];
    const struct resource *r;
    const char *nearest;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        known[n++] = commands[i].name;
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++)
        known[n++] = siblings[i].name;
    for (size_t i = 0; i < RESOURCES_MAX && (r = resource_at(i)); i++)
        known[n++] = r->word;
    nearest = option_nearest(span_str(word), known, n);
    if (nearest)
        command_complain("no command \"%s\"; the nearest is: adit %s", word, nearest);
    else
        command_complain("no command \"%s\"; all of them: adit --help", word);
    return EXIT_CANNOT;
}

/* "adit agent" and "adit relay" are programs too: a verb behind the word says which is meant. */
static bool is_about_objects(const struct resource *resource, int argc, char **argv)
{
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++) {
        if (strcmp(siblings[i].name, resource->word) == 0)
            return argc > 2 && resource_verb(resource, argv[2]) != VERB_COUNT;
    }
    return true;
}

static int run_word(int argc, char **argv)
{
    const struct resource *resource = resource_find(argv[1]);

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (resource && is_about_objects(resource, argc, argv))
        return act_command(resource, argc - 1, argv + 1);
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++) {
        if (strcmp(argv[1], siblings[i].name) == 0)
            return run_sibling(argv[1], argv + 1);
    }
    return complain_unknown(argv[1]);
}

/* adit help [RESOURCE [VERB]] */
static int help(int argc, char **argv)
{
    const struct resource *resource = argc > 2 ? resource_find(argv[2]) : NULL;
    enum verb_id verb = resource && argc > 3 ? resource_verb(resource, argv[3]) : VERB_COUNT;

    if (verb != VERB_COUNT)
        help_verb(stdout, resource, verb);
    else if (resource)
        help_resource(stdout, resource);
    else
        usage(stdout);
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_CANNOT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(argc, argv);
    if (strcmp(argv[1], "--version") == 0) {
        puts("adit " ADIT_VERSION);
        return EXIT_OK;
    }
    return run_word(argc, argv);
}
