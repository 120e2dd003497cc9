#include "dataplane/route/elsewhere.h"
#include "lib/base/hash.h"
#include <string.h>

static bool is_other(const struct relay_record *relay, const struct ulid *own)
{
    return relay->is_active && relay->address[0] && strcmp(relay->record.id, own->text) != 0;
}

static size_t collect(const struct policy *p, const struct ulid *own,
                      const struct relay_record *found[ELSEWHERE_LOOK_MAX])
{
    struct policy_cursor cursor = { 0 };
    const struct record *each;
    size_t n = 0;

    while (n < ELSEWHERE_LOOK_MAX && (each = policy_next(p, RECORD_RELAY, &cursor))) {
        const struct relay_record *relay = RECORD_AS(each, RELAY, relay_record);

        if (is_other(relay, own))
            found[n++] = relay;
    }
    return n;
}

void elsewhere_find(const struct policy *p, const struct ulid *own, const char *zone, struct mux_goaway *goaway)
{
    const struct relay_record *found[ELSEWHERE_LOOK_MAX];
    size_t n = collect(p, own, found), begin = hash_bytes(ulid_span(own));

    for (int is_near = 1; is_near >= 0; is_near--) {
        for (size_t i = 0; i < n && goaway->elsewhere_count < MUX_ELSEWHERE_MAX; i++) {
            const struct relay_record *relay = found[(begin % n + i) % n];

            if ((strcmp(relay->zone, zone) == 0) == is_near)
                goaway->elsewhere[goaway->elsewhere_count++] = span_str(relay->address);
        }
    }
}
