#pragma once
#include "lib/base/buf.h"
#include "lib/base/reason.h"
#include "lib/policy/policy.h"
/*
 * pac.h - the proxy auto-configuration of a user: what his grants cover goes to the relay, and
 * nothing else.
 *
 * Shape      a link stands in the state as the setting "pac-<link id, lower case>", whose value is
 *            "<hash> <user> <expires_ms>"; the hash is SHA-256 of its secret, hex.  (A setting, not a
 *            record of its own kind: relays that do not know it take it all the same.)
 *            The script is ES5 without a call to anything of the browser's, except dnsResolve() for
 *            profiles with match_resolved: a name that does not resolve where the browser is, or
 *            resolves into the profile's networks, goes to the relay, which decides.
 * Covers     grants of the user and his groups that have begun and have not ended.  Hours, source
 *            networks and locks are not looked at: what they refuse the relay refuses, and a granted
 *            target never goes directly.  A grant on a whole agent group sends everything.
 * Bounds     PAC_MAX bytes; PAC_GRANTS_MAX grants of the user and his groups, those too that are over.
 *            Cost: grows with these alone.
 * Threads    pure.
 */
#define PAC_MAX ((size_t)60 * 1024)
#define PAC_GRANTS_MAX 10000
#define PAC_SETTING_MAX (4 + ULID_LEN + 1)
#define PAC_PROXIES_MAX 512

/* dst of PAC_SETTING_MAX bytes. */
const char *pac_setting(const struct ulid *link, char *dst);
void pac_setting_value(struct span hash, const struct ulid *user, int64_t expires_ms, struct buf *out);
/* Whose link it is: REASON_NONE; AUTH_FAILED, CREDENTIAL_EXPIRED, USER_DISABLED, LOCKED. */
enum reason pac_link_user(const struct policy *p, const struct ulid *link, struct span hash, int64_t now_ms,
                          struct ulid *ret_user);
/* `proxies`: what the script returns for what is covered ("HTTPS relay.example:8081; PROXY …"), of
 * [A-Za-z0-9 .:;_-] and brackets.  -EINVAL: it is not; -ENOBUFS: more than that. */
MUST_CHECK int pac_write(const struct policy *p, const struct ulid *user, struct span proxies, int64_t now_ms,
                         struct buf *out);
