#pragma once
#include "lib/crypto/cert.h"
/*
 * notice.h - the JSON bodies of the NOTICEs about certificates (schema/tunnel.md).
 *
 * Errors     -EINVAL: malformed, with a sentence in reterr.     Threads  no state.
 */

/* {"chain": PEM, …}: the answer to a join or renewal.  The caller frees *ret_pem. */
MUST_CHECK int notice_chain(struct span body, char **ret_pem, struct buf *reterr);
/* {"first_retry_ms"}: 0 to an hour. */
MUST_CHECK int notice_retry(struct span body, int64_t *ret_first_retry_ms);
/* {"csr", "chain", "signature"}: the agent asks for a renewal.  The present key signs the
 * request: a link may have been up since an older certificate was shown on it.  csr and
 * signature are base64url of DER, chain is PEM. */
MUST_CHECK int notice_renew(struct span csr_der, const struct chain *chain, const struct key *key, struct buf *out);
