/*
 * adit: one table of commands, one of what there is to manage.  `adit relay …` and its sisters
 * run the program beside this one (adit-relay), git's way: so each machine has only what it needs.
 */
#include "cli/act.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/table.h"
#include "lib/base/version.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
    const struct resource *resource;
    const struct sibling *sibling;
    const struct command *command;

    fputs("usage: adit COMMAND [option…]\n\n", out);
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (command->help)
            fprintf(out, "  %-10s %-23s %s\n", command->name, command->synopsis, command->help);
    }
    fputs("\nWhat there is, and what is done with it (adit user --help, adit user create --help):\n\n", out);
    for (size_t i = 0; (resource = resource_at(i)); i++)
        fprintf(out, "  %-34s %s\n", resource->word, resource->help);
    fputs("\nThe programs (adit agent list and adit relay list are about what they say above):\n\n", out);
    for (size_t i = 0; (sibling = sibling_at(i)); i++)
        fprintf(out, "  %-34s %s\n", sibling->name, sibling->help);
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
    const char *known[RESOURCES_MAX * 2], *nearest;
    const struct resource *resource;
    const struct sibling *sibling;
    const struct command *command;
    size_t n = 0;

    for (size_t i = 0; n < ARRAY_LEN(known) && (command = command_at(i)); i++)
        known[n++] = command->name;
    for (size_t i = 0; n < ARRAY_LEN(known) && (sibling = sibling_at(i)); i++)
        known[n++] = sibling->name;
    for (size_t i = 0; n < ARRAY_LEN(known) && (resource = resource_at(i)); i++)
        known[n++] = resource->word;
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
    if (!sibling_find(resource->word))
        return true;
    return argc > 2 && resource_verb(resource, argv[2]) != VERB_COUNT;
}

static int run_word(int argc, char **argv)
{
    const struct resource *resource = resource_find(argv[1]);
    const struct command *command = command_find(argv[1]);

    if (command)
        return command->run(argc - 1, argv + 1);
    if (resource && is_about_objects(resource, argc, argv))
        return act_command(resource, argc - 1, argv + 1);
    if (sibling_find(argv[1]))
        return run_sibling(argv[1], argv + 1);
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
