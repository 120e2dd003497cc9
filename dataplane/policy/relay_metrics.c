#include "dataplane/policy/relay_metrics.h"

static const char *const handshakes[HANDSHAKE_COUNT] = {
#define HANDSHAKE_OUTCOME(name) [HANDSHAKE_##name] = #name,
    HANDSHAKE_OUTCOMES(HANDSHAKE_OUTCOME)
#undef HANDSHAKE_OUTCOME
};

static const char *handshake_text(unsigned i)
{
    return handshakes[i];
}

const struct metric_label metric_by_handshake = { "handshake", HANDSHAKE_COUNT, handshake_text };

static const char *const drops[DROP_COUNT] = {
#define DATAGRAM_DROP(name) [DROP_##name] = #name,
    DATAGRAM_DROPS(DATAGRAM_DROP)
#undef DATAGRAM_DROP
};

static const char *drop_text(unsigned i)
{
    return drops[i];
}

const struct metric_label metric_by_why = { "why", DROP_COUNT, drop_text };
