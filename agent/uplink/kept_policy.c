#include "agent/uplink/kept_policy.h"
#include "lib/crypto/file.h"
#include "lib/log/log.h"
#include <stdio.h>

#define PATH_LEN 4096

static const char *path_of(const struct kept_policy *k, char dst[PATH_LEN])
{
    snprintf(dst, PATH_LEN, "%s/policy", k->member->dir);   /* a cut path fails to open, and says so */
    return dst;
}

static int open_policy(struct kept_policy *k, struct span text, const struct agentpolicy_header *newest,
                       struct agent_reach **ret_reach, struct state_error *reterr)
{
    struct agentpolicy_header header;
    int r;

    if (!k->member->keys) {
        snprintf(reterr->text, sizeof(reterr->text), "no key set has come yet to verify the agent policy with");
        return DOCUMENT_E_REJECTED;
    }
    r = agentpolicy_open(text, k->member->keys, k->member->self.id.text, newest, &header, ret_reach, reterr);
    if (!r)
        k->header = header;
    return r;
}

int kept_policy_take(struct kept_policy *k, struct span text, struct agent_reach **ret_reach,
                     struct state_error *reterr)
{
    char path[PATH_LEN];
    int r = open_policy(k, text, &k->header, ret_reach, reterr);

    if (r)
        return r;
    /* A full disk must not keep a narrower policy from being in force. */
    r = file_write_atomic(path_of(k, path), text, 0600);
    if (r)
        LOG(WARNING, "agent.policy_not_kept", S("path", path), E(r));
    return 0;
}

struct agent_reach *kept_policy_load(struct kept_policy *k)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    struct agent_reach *reach = NULL;
    struct state_error error;
    char path[PATH_LEN];

    buf_init_heap(&text, AGENTPOLICY_MAX);
    if (file_read(path_of(k, path), AGENTPOLICY_MAX, &text))
        return NULL;
    return open_policy(k, buf_span(&text), NULL, &reach, &error) ? NULL : reach;
}
