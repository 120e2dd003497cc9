#pragma once
#include "cli/intratun/intratun.h"
/*
 * plan_internal.h - what plan.c (who takes part) and plan_access.c (who may reach what) share.
 *
 * The document is written section by section; names are given out before, so that every section can
 * name what stands in another.  A row counts if its id's entry is of that row: what is there twice does
 * not.
 */
struct making {
    const struct intratun_source *s;
    const struct intratun_options *options;
    struct intratun_plan *plan;
    struct intratun_names *users, *agents, *titles, *groups, *profiles, *grants, *overrides;
    struct json_writer w, secrets;
};

/* ---- rows, of which anything may be missing or of another type ---- */
struct span making_text(const struct json_value *row, const char *key);
/* A number too, as its text: YAML takes 1234 for one though a log-in is meant. */
struct span making_scalar(const struct json_value *row, const char *key, char mem[24]);
int64_t making_number(const struct json_value *row, const char *key);
const struct json_value *making_rows(const struct making *m, const char *table);
/* Free text as the API takes it: cut at `max` bytes; left out when nothing is left. */
void making_put_text(struct json_writer *w, const char *key, struct span text, size_t max);

/* One line of what stays behind; what is quoted in it is bounded by MAKING_SHOWN. */
void making_note(struct making *m, const char *format, ...) PRINTF_LIKE(2, 3);
#define MAKING_SHOWN(span_) SPAN_ARG(span_first((span_), 80))
/* 0 too when the key is there already, which is noted: then *ret_name is NULL. */
MUST_CHECK int making_name(struct making *m, struct intratun_names *names, struct span key, struct span wish,
                           size_t row, const char *what, const char **ret_name);
/* The name of row `i`, when its id is that row's; NULL. */
const char *making_name_of(const struct intratun_names *names, struct span id, size_t i);

/* ---- plan_access.c ---- */
MUST_CHECK int making_put_profiles(struct making *m);
MUST_CHECK int making_put_grants(struct making *m);
MUST_CHECK int making_put_overrides(struct making *m);
/* "agent:" and its log-in: the key of the user and the agent group that stand for it; dst of 128 bytes. */
struct span making_agent_key(struct span login, char dst[128]);
