#include "dataplane/policy/relay_metrics.h"

METRIC_LABEL(metric_by_handshake, "handshake", HANDSHAKE_OUTCOMES);
METRIC_LABEL(metric_by_why, "why", DATAGRAM_DROPS);
