#include "controlplane/routes/lapse.h"
#include "controlplane/routes/doc.h"

int64_t lapse_at(const struct json_value *user)
{
    int64_t last_ms = doc_time(user, "last_login_at");

    if (!doc_text(user, "identity_provider").n)
        return 0;
    return last_ms ? last_ms + LAPSE_MS : 1;
}

int64_t lapse_earlier(int64_t a_ms, int64_t b_ms)
{
    if (!a_ms || !b_ms)
        return a_ms ? a_ms : b_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}
