/*
 * adit doctor: checks this machine and this installation, one line each, with the cure.
 * Exit code: 0 nothing is wrong, 1 something is.
 */
#include "cli/command.h"
#include "cli/port.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#define DOCTOR_OPTIONS(X)                                                                    \
    SESSION_OPTIONS(X)                                                                       \
    X(PATH, bundle, "", 0, 0, 0, "also writes the findings and the ends of the logs there")

struct doctor_config { DOCTOR_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct doctor_config, __VA_ARGS__)
static const struct option_row rows[] = { DOCTOR_OPTIONS(ROW) };
static const struct option_table table = {
    "adit doctor", "ADIT_CLI_",
    "Checks limits, clock, files, ports, certificates and the way to control plane and relay.\n"
    "Exit code: 0 nothing is wrong, 1 something is.",
    rows, ARRAY_LEN(rows),
};

enum { FILES_WANTED = 4096, DISK_WANTED_MIB = 256, BUNDLE_LOG_BYTES = 64 * 1024 };
enum verdict { GOOD, WARNING, BAD, SKIPPED };

struct doctor {
    const struct doctor_config *config;
    struct session session;
    struct buf findings;        /* as they were printed, without colours */
};

static enum verdict check_files(struct doctor *d, struct buf *detail)
{
    struct rlimit limit;

    (void)d;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return SKIPPED;
    buf_printf(detail, "%llu open files allowed", (unsigned long long)limit.rlim_max);
    if (limit.rlim_max >= FILES_WANTED)
        return GOOD;
    buf_printf(detail, "; each stream takes one or two: raise the limit to %d", FILES_WANTED);
    return WARNING;
}

static enum verdict check_clock(struct doctor *d, struct buf *detail)
{
    struct timex state = { 0 };
    bool is_synchronised = adjtimex(&state) >= 0 && !(state.status & STA_UNSYNC);

    (void)d;
    buf_put_str(detail, is_synchronised ? "the kernel holds the clock synchronised"
                                        : "nothing says that the clock is synchronised (NTP); "
                                          "certificates and grants need it within 60 s");
    return is_synchronised ? GOOD : WARNING;
}

static enum verdict check_programs(struct doctor *d, struct buf *detail)
{
    static const char *const names[] = { "controlplane", "relay", "agent" };
    enum verdict verdict = GOOD;
    char path[PATH_MAX];

    (void)d;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (command_sibling(names[i], path, sizeof(path)) || access(path, X_OK) < 0) {
            buf_printf(detail, "adit-%s is not beside adit; ", names[i]);
            verdict = WARNING;
        }
    }
    if (verdict == GOOD)
        buf_put_str(detail, "all of them are beside adit");
    return verdict;
}

static enum verdict check_secrets(struct doctor *d, struct buf *detail)
{
    static const char *const names[] = { "", "credentials", "demo.curlrc", "controlplane" };
    enum verdict verdict = GOOD;

    if (!d->session.has_place)
        return SKIPPED;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct place_text path = place_path(&d->session.place, names[i]);
        struct stat st;

        if (stat(path.text, &st) == 0 && (st.st_mode & 077)) {
            buf_printf(detail, "others may look into %s: chmod go= %s; ", path.text, path.text);
            verdict = BAD;
        }
    }
    if (verdict == GOOD)
        buf_printf(detail, "only this user may look into %s", d->session.place.dir);
    return verdict;
}

static enum verdict check_disk(struct doctor *d, struct buf *detail)
{
    struct statvfs disk;
    unsigned long long free_mib;

    if (!d->session.has_place || statvfs(d->session.place.dir, &disk) < 0)
        return SKIPPED;
    free_mib = (unsigned long long)disk.f_bavail * disk.f_frsize >> 20;
    buf_printf(detail, "%llu MiB free for %s", free_mib, d->session.place.dir);
    return free_mib >= DISK_WANTED_MIB ? GOOD : BAD;
}

static enum verdict check_ports(struct doctor *d, struct buf *detail)
{
    if (!d->session.has_place || d->session.is_running) {
        buf_put_str(detail, d->session.is_running ? "adit up holds them" : "nobody has run adit up here");
        return SKIPPED;
    }
    if (place_ports_are_free(&d->session.place, detail)) {
        buf_put_str(detail, "all ports that adit up takes are free");
        return GOOD;
    }
    return BAD;
}

static enum verdict check_control(struct doctor *d, struct buf *detail)
{
    struct api_answer answer = { 0 };
    enum verdict verdict = GOOD;

    if (!d->session.api) {
        buf_put_str(detail, "it does not run here: adit up, or --api URL");
        return BAD;
    }
    if (api_call(d->session.api, "GET", "/api/v1/status", SPAN_NONE, &answer, detail)) {
        verdict = BAD;
    } else if (!api_is_ok(&answer)) {
        buf_put_str(detail, "it answers ");
        api_problem(&answer, detail);
        verdict = BAD;
    } else {
        buf_put_str(detail, "it answers, and its certificate hangs below the CA");
    }
    api_answer_deinit(&answer);
    return verdict;
}

static enum verdict check_tunnel(struct doctor *d, struct buf *detail)
{
    if (!d->session.is_running)
        return SKIPPED;
    if (api_probe_upgrade(place_address(&d->session.place, PORT_TUNNEL).text,
                          place_path(&d->session.place, "ca.pem").text, detail))
        return BAD;
    buf_put_str(detail, "a WebSocket gets through to the relay's tunnel door");
    return GOOD;
}

static const struct {
    const char *name;
    enum verdict (*check)(struct doctor *d, struct buf *detail);
} checks[] = {
    { "file limits", check_files },
    { "clock", check_clock },
    { "programs", check_programs },
    { "secrets", check_secrets },
    { "disk", check_disk },
    { "ports", check_ports },
    { "control plane", check_control },
    { "tunnel", check_tunnel },
};

static const struct { const char *label; enum terminal_colour colour; } verdicts[] = {
    [GOOD] = { "[ OK ]", TERMINAL_GOOD },
    [WARNING] = { "[WARN]", TERMINAL_DIM },
    [BAD] = { "[FAIL]", TERMINAL_BAD },
    [SKIPPED] = { "[ -- ]", TERMINAL_DIM },
};

static bool check_one(struct doctor *d, size_t i)
{
    char mem[2048];
    struct buf detail;
    enum verdict verdict;

    buf_init_fixed(&detail, mem, sizeof(mem) - 1);
    verdict = checks[i].check(d, &detail);
    printf("%s%s%s %-14s %s\n", terminal_colour(verdicts[verdict].colour), verdicts[verdict].label,
           terminal_colour(TERMINAL_PLAIN), checks[i].name, buf_text(&detail));
    buf_printf(&d->findings, "%s %-14s %s\n", verdicts[verdict].label, checks[i].name, buf_text(&detail));
    return verdict != BAD;
}

/* The end of a log; the programs write no secrets into them. */
static void add_log_end(const struct place *place, const char *name, struct buf *out)
{
    struct place_text path = place_path(place, name);
    AUTO(buf_deinit) struct buf log = { 0 };
    struct span text;

    buf_init_heap(&log, 32 * 1024 * 1024);
    if (file_read(path.text, 32 * 1024 * 1024, &log))
        return;
    text = buf_span(&log);
    if (text.n > BUNDLE_LOG_BYTES)
        text = span_skip(text, text.n - BUNDLE_LOG_BYTES);
    buf_printf(out, "\n--- %s\n", name);
    buf_put_span(out, text);
}

static bool write_bundle(struct doctor *d)
{
    static const char *const logs[] = { "log/controlplane.log", "log/relay.log", "log/agent.log",
                                        "log/page.log" };
    int r;

    for (size_t i = 0; d->session.has_place && i < ARRAY_LEN(logs); i++)
        add_log_end(&d->session.place, logs[i], &d->findings);
    r = buf_error(&d->findings) ? buf_error(&d->findings)
                                : file_write_atomic(d->config->bundle, buf_span(&d->findings), 0600);
    if (r)
        command_complain("%s: %s", d->config->bundle, strerror(-r));
    return r == 0;
}

static int examine(const struct doctor_config *config)
{
    struct doctor d = { .config = config };
    bool is_well = true;

    buf_init_heap(&d.findings, 1024 * 1024);
    session_locate(&d.session, SESSION_OF(config));
    if (d.session.is_running || config->api[0])
        is_well = session_open(&d.session, SESSION_OF(config));
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        is_well = check_one(&d, i) && is_well;
    if (config->bundle[0])
        is_well = write_bundle(&d) && is_well;
    session_close(&d.session);
    buf_deinit(&d.findings);
    return is_well ? EXIT_OK : EXIT_NOT;
}

int doctor_command(int argc, char **argv)
{
    struct doctor_config config = { 0 };
    struct command_words words;
    int code;

    if (command_load(&table, argc, argv, &config, &words, &code))
        code = command_no_words(&table, &words) ? examine(&config) : EXIT_CANNOT;
    option_free(&table, &config);
    return code;
}
