#pragma once
#include "lib/policy/policy.h"
/*
 * chosen.h - whose chosen password the doors may ask the control plane about.
 *
 * Shape      the setting "password-<user id, lower case>"; its value is another one for each password.
 *            (No verifier: that never leaves the control plane.  A setting, not a field of the user:
 *            relays that do not know it take it all the same, and ask nobody.)
 * Threads    pure.
 */
#define CHOSEN_SETTING_MAX (9 + ULID_LEN + 1)

/* dst of CHOSEN_SETTING_MAX bytes. */
const char *chosen_setting(const struct ulid *user, char *dst);
/* Who goes by that name, and which password is his.  False: nobody, or it is not to be asked about. */
bool chosen_user(const struct policy *p, struct span user_name, const struct user_record **ret_user,
                 struct span *ret_which);
/* A number in its stead, for whoever logged in by it; of this process alone. */
uint64_t chosen_mark(struct span which);
/* That password is the user's still, and the doors may still go by it. */
bool chosen_holds(const struct policy *p, const struct ulid *user, uint64_t mark);
/* Whose password was right: REASON_NONE, USER_DISABLED, LOCKED. */
enum reason chosen_admit(const struct policy *p, const struct user_record *user, const struct addr *source,
                         int64_t now_ms);
