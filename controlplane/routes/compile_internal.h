#pragma once
#include "controlplane/routes/compile.h"
#include "controlplane/routes/doc.h"
#include "lib/policy/record.h"
/*
 * compile_internal.h - one filler for each kind of record; for compile.c alone.
 *
 * Ownership  what they put into the record is the record's, also when they fail.
 * Errors     the store's; -ENOMEM; -EINVAL: a document that was never checked.
 */
struct compile {
    struct store_tx *tx;
    const struct store_object *object;
    const struct json_value *doc;
};

int compile_user(struct compile *c, struct record *record);
int compile_group(struct compile *c, struct record *record);
int compile_credential(struct compile *c, struct record *record);
int compile_agent(struct compile *c, struct record *record);
int compile_agent_group(struct compile *c, struct record *record);
int compile_profile(struct compile *c, struct record *record);
int compile_grant(struct compile *c, struct record *record);
int compile_override(struct compile *c, struct record *record);
int compile_lock(struct compile *c, struct record *record);
int compile_quota(struct compile *c, struct record *record);
int compile_pac_link(struct compile *c, struct record *record);
int compile_relay(struct compile *c, struct record *record);

/* Whether labels hold all that a selector asks for; one that asks for nothing selects nothing. */
bool compile_selects(const struct json_value *selector, const struct json_value *labels);
/* A zeroed array for the items of a field; *ret_items stays NULL when there are none. */
int compile_array(const struct json_value *doc, const char *field, size_t size, void **ret_items);
int compile_networks(const struct json_value *doc, const char *field, struct cidr **ret_items,
                     size_t *ret_count);
/* As much of the text as fits, never half a character. */
void compile_text(struct span text, char *dst, size_t dst_size);
