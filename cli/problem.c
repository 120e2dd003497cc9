#include "cli/problem.h"

#include "cli/command.h"

#include <stdio.h>
#include <string.h>

enum { REFERRERS_SHOWN = 10 };

static struct span text_of(const struct json_value *object, const char *key)
{
    struct span text = SPAN_NONE;

    if (object)
        json_get_str(object, key, &text);
    return text;
}

/* "/source_networks/2" is "--source-networks" to who typed it; false: no flag of this command. */
static bool flag_of(const struct flags *flags, struct span pointer, char *name, size_t size)
{
    struct span rest = span_skip(pointer, 1), field;

    if (!flags || !pointer.n || !span_cut(&rest, '/', &field) || !span_copy(field, name, size))
        return false;
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    return flags_find(flags, span_str(name)) != NULL;
}

static void print_errors(const struct flags *flags, const struct json_value *errors)
{
    for (size_t i = 0; errors && i < json_count(errors); i++) {
        struct span pointer = text_of(json_at(errors, i), "pointer");
        struct span message = text_of(json_at(errors, i), "message");
        char name[72];

        if (flag_of(flags, pointer, name, sizeof(name)))
            fprintf(stderr, "  --%s (" SPAN_FMT "): " SPAN_FMT "\n", name, SPAN_ARG(pointer), SPAN_ARG(message));
        else
            fprintf(stderr, "  " SPAN_FMT "%s" SPAN_FMT "\n", SPAN_ARG(pointer), pointer.n ? ": " : "",
                    SPAN_ARG(message));
    }
}

static void print_referrers(const struct json_value *list)
{
    size_t count = list ? json_count(list) : 0;

    for (size_t i = 0; i < count && i < REFERRERS_SHOWN; i++) {
        const struct json_value *r = json_at(list, i);

        fprintf(stderr, "  referred to by " SPAN_FMT " " SPAN_FMT " (its " SPAN_FMT ")\n",
                SPAN_ARG(text_of(r, "kind")), SPAN_ARG(text_of(r, "name")), SPAN_ARG(text_of(r, "field")));
    }
    if (count > REFERRERS_SHOWN)
        fprintf(stderr, "  … and %zu more\n", count - REFERRERS_SHOWN);
}

static int show_stale(const char *word, const char *name)
{
    command_complain("%s %s: somebody else changed it in between, and nothing was written.\n"
                     "  what to do: look at it (adit %s show %s) and try again, or overwrite it on "
                     "purpose with --if-match '*'",
                     word, name ? name : "", word, name ? name : "");
    return EXIT_STALE;
}

int problem_show(const struct flags *flags, const char *word, const char *name,
                 const struct api_answer *answer)
{
    const struct json_value *errors = answer->body ? json_get(answer->body, "errors") : NULL;
    struct span reason = text_of(answer->body, "reason"), detail = text_of(answer->body, "detail");
    struct span cure = text_of(answer->body, "cure");

    if (answer->status == 412)
        return show_stale(word, name);
    fflush(stdout);
    fprintf(stderr, "adit: %s%s%s: ", word, name ? " " : "", name ? name : "");
    if (!reason.n)
        fprintf(stderr, "the control plane answers status %ld\n", answer->status);
    else if (errors && json_count(errors))
        fprintf(stderr, SPAN_FMT ":\n", SPAN_ARG(reason));
    else
        fprintf(stderr, SPAN_FMT ": " SPAN_FMT "\n", SPAN_ARG(reason),
                SPAN_ARG(detail.n ? detail : text_of(answer->body, "title")));
    print_errors(flags, errors);
    print_referrers(answer->body ? json_get(answer->body, "referrers") : NULL);
    if (cure.n)
        fprintf(stderr, "  what to do: " SPAN_FMT "\n", SPAN_ARG(cure));
    return EXIT_NOT;
}
