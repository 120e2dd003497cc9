#pragma once
#include "controlplane/domain/kind.h"
/*
 * resource.h - what `adit user`, `adit grant` and their like are about: one row each.
 *
 * What can be done with an object, and which fields it has, comes from the descriptor that the
 * API itself is made of (controlplane/domain/kind.h); the row adds the words for people.
 * Help, completion and the manual come from the same two.
 *
 * Threads    constants.
 */
enum verb_id {
    VERB_LIST, VERB_SHOW, VERB_CREATE, VERB_EDIT, VERB_DELETE, VERB_MEMBERS, VERB_ADD_MEMBER,
    VERB_REMOVE_MEMBER, VERB_ROTATE, VERB_CUT, VERB_RESET, VERB_EXPORT, VERB_VERIFY,
    VERB_COUNT
};
#define VERB_BIT(id_) (1u << VERB_##id_)

#define RESOURCES_MAX 64
#define ASK_WORDS_MAX 64

struct verb {
    const char *name;           /* "add-member" */
    const char *words;          /* "GROUP MEMBER…" */
    unsigned words_min, words_max;
    const char *help;           /* "%s" is the resource's word with its article */
};

struct resource {
    const char *word;           /* "profile": adit profile … */
    const char *one, *many;     /* "a destination profile", "destination profiles" */
    enum kind_id kind;          /* KIND_COUNT: what relays report, and the audit */
    const char *plural;         /* of those */
    const char *help;           /* one line */
    const char *columns;        /* of its table: "name role actor.name" */
    const char *named_by;       /* the field that create's word gives; NULL: name */
    const char *filters;        /* without a kind: "user state" */
    unsigned verbs;             /* beside those that the kind gives */
    const char *examples;       /* lines */
};

const struct resource *resource_at(size_t i);           /* NULL past the last */
const struct resource *resource_find(const char *word); /* NULL */
const struct kind *resource_kind(const struct resource *resource);      /* NULL */
const char *resource_plural(const struct resource *resource);   /* in paths */
const struct verb *verb_at(enum verb_id id);
/* Whether the resource has it. */
bool resource_has(const struct resource *resource, enum verb_id id);
/* VERB_COUNT: there is no such verb, or this resource has it not. */
enum verb_id resource_verb(const struct resource *resource, const char *name);
