#include "controlplane/audit/verify.h"
#include "lib/crypto/digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 100

struct walk {
    struct store_tx *tx;
    const struct audit_verify_options *options;
    struct audit_verdict *verdict;
    struct checkpoint last, base;       /* the newest; the one that retention removed up to */
    struct checkpoint before, now;
    char before_hash[SHA256_HEX];
    int64_t epoch;                      /* of the state */
    bool is_same;                       /* the line outside is the one that we have */
    struct span line_doc;
};

static const char *const codes[] = {
#define AUDIT_FINDING_CODE(name, code, what) code,
    AUDIT_FINDINGS(AUDIT_FINDING_CODE)
};
static const char *const texts[] = {
#define AUDIT_FINDING_TEXT(name, code, what) what,
    AUDIT_FINDINGS(AUDIT_FINDING_TEXT)
};

const char *audit_finding_code(enum audit_finding finding)
{
    return codes[finding];
}

const char *audit_finding_text(enum audit_finding finding)
{
    return texts[finding];
}

static int found(struct walk *w, enum audit_finding finding, int64_t number)
{
    w->verdict->finding = finding;
    w->verdict->bad_number = number;
    return -EUCLEAN;
}

/* ---- single checkpoints ---- */

struct wanted {
    struct walk *walk;
    struct checkpoint *c;
};

static int take(void *ctx, const struct store_checkpoint *row)
{
    struct wanted *wanted = ctx;

    if (!checkpoint_is_signed(wanted->walk->options->key, row->doc, row->signature) ||
        checkpoint_read(row->doc, wanted->c) || wanted->c->number != row->number)
        return found(wanted->walk, AUDIT_CHECKPOINT_FORGED, row->number);
    return 0;
}

/* The newest, and the one that it says events were removed before. */
static int take_ends(struct walk *w)
{
    struct wanted last = { w, &w->last }, base = { w, &w->base };
    int r = store_checkpoint_before(w->tx, INT64_MAX, take, &last);

    if (r)
        return r == STORE_E_NOT_FOUND ? 0 : r;
    w->verdict->last_number = w->last.number;
    w->verdict->last_at_ms = w->last.at_ms;
    if (!w->last.removed_to)
        return 0;
    r = store_checkpoint_get(w->tx, w->last.removed_to, take, &base);
    for (size_t i = 0; i < w->base.head_count; i++)
        w->verdict->removed += (uint64_t)w->base.heads[i].seq - 1;
    return r == STORE_E_NOT_FOUND ? found(w, AUDIT_CHECKPOINT_MISSING, w->last.removed_to) : r;
}

/* ---- all of them ---- */

/* Chains only grow, and none goes. */
static bool goes_on(const struct checkpoint *before, const struct checkpoint *now)
{
    if (now->removed_to < before->removed_to || now->removed_to >= now->number)
        return false;
    for (size_t i = 0; i < before->head_count; i++) {
        const struct store_audit_head *head = checkpoint_head(now, before->heads[i].writer);

        if (!head || head->seq < before->heads[i].seq)
            return false;
    }
    return true;
}

static int check_events(struct walk *w)
{
    int r = 0;

    for (size_t i = 0; !r && i < w->now.head_count; i++) {
        const struct store_audit_head *head = &w->now.heads[i];
        const struct store_audit_head *old = checkpoint_head(&w->before, head->writer);

        if (w->now.number > w->base.number && old && old->seq == head->seq && !strcmp(old->hash, head->hash))
            continue;
        r = store_audit_has(w->tx, head);
        if (r == STORE_E_NOT_FOUND)
            return found(w, AUDIT_EVENT_MISSING, w->now.number);
    }
    return r;
}

static int check_one(void *ctx, const struct store_checkpoint *row)
{
    struct walk *w = ctx;
    int r;

    w->verdict->checkpoints++;
    if (row->number != w->before.number + 1)
        return found(w, AUDIT_CHECKPOINT_MISSING, w->before.number + 1);
    r = take(&(struct wanted){ w, &w->now }, row);
    if (r)
        return r;
    if (strcmp(w->now.prev, w->before_hash) != 0 || !goes_on(&w->before, &w->now))
        return found(w, AUDIT_CHECKPOINT_UNLINKED, row->number);
    if (w->now.number >= w->base.number)
        r = check_events(w);
    w->before = w->now;
    sha256_hex(row->doc, w->before_hash);
    return r;
}

static int check_all(struct walk *w)
{
    int r = 0;

    while (!r && w->before.number < w->last.number)
        r = store_checkpoints(w->tx, w->before.number, PAGE, check_one, w);
    return r;
}

/* ---- the file outside ---- */

static int compare_line(void *ctx, const struct store_checkpoint *row)
{
    struct walk *w = ctx;

    w->is_same = span_eq(row->doc, w->line_doc);
    return 0;
}

/* A restore forgets what came after its backup, and raises the epoch. */
static int check_line(struct walk *w, struct span line, int64_t number)
{
    struct span signature;
    int r;

    w->verdict->outside++;
    if (!checkpoint_line_cut(line, &w->line_doc, &signature) ||
        !checkpoint_is_signed(w->options->key, w->line_doc, signature) || checkpoint_read(w->line_doc, &w->now))
        return found(w, AUDIT_OUTSIDE_FORGED, number);
    w->is_same = false;
    r = store_checkpoint_get(w->tx, w->now.number, compare_line, w);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    if (w->is_same)
        return 0;
    if (w->now.epoch < w->epoch) {
        w->verdict->outside_lost++;
        return 0;
    }
    return found(w, r ? AUDIT_OUTSIDE_MISSING : AUDIT_OUTSIDE_DIFFERS, w->now.number);
}

/* The line that the tail begins in was not read whole, nor is one without its end. */
static int check_lines(struct walk *w, FILE *f, char *text, bool is_cut)
{
    int64_t number = 0;
    int r = 0;

    while (!r && fgets(text, CHECKPOINT_LINE_MAX, f)) {
        struct span line = span_str(text);
        bool is_first = number++ == 0 && is_cut;

        if (!line.n || line.p[line.n - 1] != '\n')
            return feof(f) || is_first ? 0 : found(w, AUDIT_OUTSIDE_FORGED, number);
        if (!is_first)
            r = check_line(w, span_first(line, line.n - 1), number);
    }
    return r;
}

static int check_file(struct walk *w)
{
    AUTO(freep) char *text = malloc(CHECKPOINT_LINE_MAX);
    bool is_cut = false;
    FILE *f;
    int r;

    if (!text)
        return -ENOMEM;
    f = fopen(w->options->file, "re");
    if (!f)
        return errno == ENOENT ? 0 : -errno;
    if (w->options->file_tail && fseeko(f, 0, SEEK_END) == 0 && ftello(f) > (off_t)w->options->file_tail)
        is_cut = fseeko(f, -(off_t)w->options->file_tail, SEEK_END) == 0;
    if (!is_cut)
        rewind(f);
    r = check_lines(w, f, text, is_cut);
    fclose(f);
    return r;
}

/* ---- */

static int verify_all(struct walk *w)
{
    struct store_position at;
    int r = take_ends(w);

    if (!r)
        r = store_audit_verify(w->tx, w->base.heads, w->base.head_count, &w->verdict->chains);
    if (r == -EUCLEAN && !w->verdict->finding)
        return found(w, AUDIT_CHAIN, 0);
    if (!r)
        r = check_all(w);
    if (!r)
        r = store_position(w->tx, &at);
    if (r || !w->options->file || !w->options->file[0])
        return r;
    w->epoch = (int64_t)at.epoch;
    return check_file(w);
}

int audit_verify(struct store_tx *tx, const struct audit_verify_options *options,
                 struct audit_verdict *ret_verdict)
{
    AUTO(freep) struct walk *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    *ret_verdict = (struct audit_verdict){ 0 };
    w->tx = tx;
    w->options = options;
    w->verdict = ret_verdict;
    return verify_all(w);
}
