#include "cli/act.h"

#include "cli/help.h"

#include <stdio.h>
#include <string.h>

static int (*const acts[VERB_COUNT])(struct ask *ask) = {
    [VERB_LIST] = act_list, [VERB_SHOW] = act_show, [VERB_CREATE] = act_create, [VERB_EDIT] = act_edit,
    [VERB_DELETE] = act_delete, [VERB_MEMBERS] = act_list, [VERB_ADD_MEMBER] = act_add_member,
    [VERB_REMOVE_MEMBER] = act_remove_member, [VERB_ROTATE] = act_rotate, [VERB_CUT] = act_cut,
    [VERB_RESET] = act_reset, [VERB_EXPORT] = act_export,
    [VERB_VERIFY] = act_verify,
};

static int complain_verb(const struct resource *resource, const char *word)
{
    const char *known[VERB_COUNT], *nearest;
    size_t n = 0;

    for (enum verb_id id = 0; id < VERB_COUNT; id++) {
        if (resource_has(resource, id))
            known[n++] = verb_at(id)->name;
    }
    nearest = option_nearest(span_str(word), known, n);
    if (nearest)
        command_complain("adit %s has no \"%s\"; the nearest is: adit %s %s", resource->word, word,
                         resource->word, nearest);
    else
        command_complain("adit %s has no \"%s\"; see: adit %s --help", resource->word, word, resource->word);
    return EXIT_CANNOT;
}

static int run(struct ask *ask)
{
    if (ask->wants_help) {
        help_verb(stdout, ask->resource, ask->verb);
        return EXIT_OK;
    }
    if (!session_open(&ask->session, &(struct session_options){ ask->config.var, ask->config.api,
                                                                ask->config.ca_file,
                                                                ask->config.token_file }))
        return EXIT_CANNOT;
    return acts[ask->verb](ask);
}

static int do_verb(const struct resource *resource, enum verb_id verb, int argc, char **argv)
{
    struct ask *ask = calloc(1, sizeof(*ask));
    int code = EXIT_CANNOT;

    if (!ask) {
        command_complain("out of memory");
        return code;
    }
    if (ask_read(resource, verb, argc, argv, ask))
        code = run(ask);
    ask_deinit(ask);
    free(ask);
    return code;
}

int act_command(const struct resource *resource, int argc, char **argv)
{
    enum verb_id verb;

    if (argc < 2) {
        help_resource(stderr, resource);
        return EXIT_CANNOT;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help_resource(stdout, resource);
        return EXIT_OK;
    }
    verb = resource_verb(resource, argv[1]);
    if (verb == VERB_COUNT)
        return complain_verb(resource, argv[1]);
    return do_verb(resource, verb, argc - 1, argv + 1);
}
