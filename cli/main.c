/*
 * adit: one table of commands.  `adit relay …` and its sisters run the program beside this
 * one (adit-relay), git's way: so each machine has only what it needs.
 */
#include "cli/command.h"
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
    { "join-token", "create NAME", "a token for one new agent", join_token_command },
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
    fputs("usage: adit COMMAND [option…]\n\n", out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].help)
            fprintf(out, "  %-10s %-19s %s\n", commands[i].name, commands[i].synopsis,
                    commands[i].help);
    }
    fputc('\n', out);
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++)
        fprintf(out, "  %-30s %s\n", siblings[i].name, siblings[i].help);
    fputs("\nadit COMMAND --help says more.  Exit codes: 0 done, 1 not done (status: degraded;\n"
          "explain: refused), 2 wrong usage or nothing to ask (status: down).\n", out);
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
    const char *known[ARRAY_LEN(commands) + ARRAY_LEN(siblings)];
    const char *nearest;
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        known[n++] = commands[i].name;
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++)
        known[n++] = siblings[i].name;
    nearest = option_nearest(span_str(word), known, n);
    if (nearest)
        command_complain("no command \"%s\"; the nearest is: adit %s", word, nearest);
    else
        command_complain("no command \"%s\"; all of them: adit --help", word);
    return EXIT_CANNOT;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_CANNOT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("adit " ADIT_VERSION);
        return EXIT_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(siblings); i++) {
        if (strcmp(argv[1], siblings[i].name) == 0)
            return run_sibling(argv[1], argv + 1);
    }
    return complain_unknown(argv[1]);
}
