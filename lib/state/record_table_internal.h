#pragma once
#include "lib/json/json.h"
#include "lib/policy/record.h"
/*
 * record_table_internal.h - which fields each kind of record has: one table for reading and writing.
 * Inside lib/state only; schema/state.md says the same in words.
 */
enum field_type {
    FIELD_NAME,         /* char[64]: [a-z0-9-]{1,63} */
    FIELD_TEXT,         /* char[size]: length within min..max */
    FIELD_HEX,          /* char[size]: exactly max lower-case hex digits */
    FIELD_ID,           /* struct ulid */
    FIELD_INT,          /* int64_t within min..max */
    FIELD_BOOL,         /* bool */
    FIELD_ENUM,         /* enum: names[value]; max: how many */
    FIELD_HOST,         /* struct host_pattern */
    FIELD_CIDR,         /* struct cidr */
    FIELD_HEAP_TEXT,    /* char *: length within min..max */
    FIELD_LIST,         /* array of elements and size_t count: count within min..max */
};

/* One item of a list.  `parse` answers 0, -EINVAL with `what` it should be, or -ENOMEM. */
struct element_codec {
    size_t size;
    int (*parse)(const struct json_value *v, void *element);
    void (*write)(const void *element, struct json_writer *w);
    const char *what;
};

struct record_field {
    const char *key;
    enum field_type type;
    bool is_required;
    size_t offset, size;
    int64_t min, max;
    const char *const *names;
    const struct element_codec *element;
    size_t count_offset;
};

struct record_table {
    const struct record_field *fields;
    size_t count;
    /* What fields must hold together: NULL, or what is wrong. */
    const char *(*check)(const struct record *r);
};

const struct record_table *record_table(enum record_kind kind);

extern const struct element_codec element_ulid, element_cidr, element_addr, element_host,
    element_port, element_rule, element_member, element_window, element_offset;
