#include "lib/policy/chosen.h"
#include "lib/base/hash.h"
#include "lib/policy/match_internal.h"
#include <string.h>

const char *chosen_setting(const struct ulid *user, char *dst)
{
    size_t n = sizeof("password-") - 1;

    memcpy(dst, "password-", n);
    for (size_t i = 0; i <= ULID_LEN; i++) {
        char c = user->text[i];

        dst[n + i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return dst;
}

bool chosen_user(const struct policy *p, struct span user_name, const struct user_record **ret_user,
                 struct span *ret_which)
{
    const struct record *found = policy_find_name(p, RECORD_USER, user_name);
    const struct user_record *user = RECORD_AS(found, USER, user_record);
    char name[CHOSEN_SETTING_MAX];
    struct ulid id;

    if (!user || !ulid_parse(record_id(found), &id))
        return false;
    *ret_which = policy_setting(p, chosen_setting(&id, name));
    *ret_user = user;
    return ret_which->n > 0;
}

uint64_t chosen_mark(struct span which)
{
    return hash_bytes(which);
}

bool chosen_holds(const struct policy *p, const struct ulid *user, uint64_t mark)
{
    char name[CHOSEN_SETTING_MAX];
    struct span which = policy_setting(p, chosen_setting(user, name));

    return which.n > 0 && chosen_mark(which) == mark;
}

enum reason chosen_admit(const struct policy *p, const struct user_record *user, const struct addr *source,
                         int64_t now_ms)
{
    if (!user->is_active)
        return REASON_USER_DISABLED;
    return match_lock_user(p, user, source, now_ms) ? REASON_LOCKED : REASON_NONE;
}
