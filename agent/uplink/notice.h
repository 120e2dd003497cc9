#pragma once
#include "lib/base/buf.h"
/*
 * notice.h - the JSON bodies of the NOTICEs about certificates (schema/tunnel.md).
 *
 * Errors     -EINVAL: malformed, with a sentence in reterr.     Threads  no state.
 */

/* {"chain": PEM, …}: the answer to a join or renewal.  The caller frees *ret_pem. */
MUST_CHECK int notice_chain(struct span body, char **ret_pem, struct buf *reterr);
/* {"csr": base64url of DER}: the agent asks for a renewal. */
void notice_renew(struct span csr_der, struct buf *out);
