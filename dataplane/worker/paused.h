#pragma once
#include "lib/net/listener.h"
#include "lib/obs/metrics.h"
/*
 * paused.h - says that a listener could not accept: out of descriptors, or of the kernel's memory.
 */
void tell_paused(struct metric_slot *metrics, const struct endpoint *at, int error, bool is_new);
