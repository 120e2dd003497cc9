#include "lib/config/option_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A shorter prefix of one program must not claim the variables of another. */
static const char *const program_prefixes[] = { "ADIT_CONTROLPLANE_", "ADIT_RELAY_",
                                                "ADIT_AGENT_" };

static bool is_of_another(const struct option_table *table, struct span variable)
{
    struct span own = span_str(table->env_prefix);

    for (size_t i = 0; i < ARRAY_LEN(program_prefixes); i++) {
        struct span other = span_str(program_prefixes[i]);

        if (other.n > own.n && span_starts(variable, other))
            return true;
    }
    return false;
}

/* Kubernetes makes NAME_SERVICE_HOST, NAME_PORT, NAME_PORT_80_TCP… for a service NAME. */
static bool is_service_link(struct span name)
{
    return span_starts(name, SPAN("service_")) || span_eq(name, SPAN("port"))
        || span_starts(name, SPAN("port_"));
}

static int put_variable(struct option_origins *o, struct span variable, struct span text,
                        struct buf *reterr)
{
    char name_mem[OPTION_NAME_MAX], where[2 * OPTION_NAME_MAX];
    struct option_claim claim = { .source = OPTION_FROM_ENV, .text = text, .where = where };
    bool is_path;

    if (!span_copy(variable, where, sizeof(where))
        || !span_copy(span_skip(variable, strlen(o->table->env_prefix)), name_mem,
                      sizeof(name_mem)))
        return option_refuse_unknown(o->table, span_first(variable, 40), "environment", reterr);
    for (char *c = name_mem; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    claim.name = span_str(name_mem);

    if (span_eq(claim.name, SPAN("config"))) {
        if (!o->config_path)
            o->config_path = span_dup(text);
        return o->config_path ? 0 : -ENOMEM;
    }
    if (is_service_link(claim.name) && !option_find(o->table, claim.name, &is_path))
        return 0;
    return option_put(o, &claim, reterr);
}

int option_read_env(struct option_origins *o, char **environment, struct buf *reterr)
{
    struct span prefix = span_str(o->table->env_prefix);
    int r = 0;

    for (; *environment && !r; environment++) {
        struct span text = span_str(*environment), variable;

        if (!span_starts(text, prefix) || !span_cut(&text, '=', &variable)
            || is_of_another(o->table, variable))
            continue;
        r = put_variable(o, variable, text, reterr);
    }
    return r;
}

int option_read_shared(struct option_origins *o, struct buf *reterr)
{
    int r = 0;

    for (size_t i = 0; i < o->table->shared_count && !r; i++) {
        const struct option_shared *shared = &o->table->shared[i];
        const char *text = getenv(shared->variable);
        struct option_claim claim = { OPTION_FROM_SHARED, span_str(shared->name), span_str(text),
                                      shared->variable };

        if (text && *text)
            r = option_put(o, &claim, reterr);
    }
    return r;
}
