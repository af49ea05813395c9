/*
 * A load generator for gateways: OpenAI-like calls over keep-alive HTTP/1.1.
 *
 *   caller --port P --body FILE [options]         prints one JSON object
 *
 *   --connections N    each sends its next request when its answer is whole
 *   --warm-ms N        not counted; the measuring window begins after it
 *   --window-ms N      counted
 *   --ramp-ms N        spread the first requests over this time
 *   --path P, --header 'Name: value' (repeatable)
 *   --stream           answers are event streams; count and time their events
 *   --events N         content events that each stream must have
 *   --expect TEXT      must occur in each answer: in an event without a stamp,
 *                      or anywhere in a unary body
 *   --in-event TEXT    must occur in every content event
 *   --backoff-ms N     rest of a connection after a refusal (429, 5xx)
 *   --slow N           this many of the connections read slowly ...
 *   --slow-rate B      ... B bytes per second, and are not counted
 *   --slow-body FILE   what these send instead
 *   --pids A,B         processes whose CPU clocks are read as the window opens
 *                      and as it closes, so that work and cost are of one time
 *
 * One thread, one epoll.  A content event's "~" and five base-64 digits are
 * the provider's CLOCK_MONOTONIC in microseconds modulo 2^30; its delay is
 * the time at which the read that brought its line end returned, minus that.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;
typedef enum { HEAD, BY_LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, UNTIL_CLOSE } part;

enum { LINE_ROOM = 16384, HEAD_ROOM = 16384, READ_SIZE = 262144, TICK_MS = 10 };

typedef struct {
    int fd, slow, status, closing, retry_after, waiting; /* waiting: an answer is owed */
    part part;
    size_t unsent, left;
    u64 asked_ns, resume_ns;
    int begun, stamped, done, expected;
    double credit;              /* bytes that a slow reader may read now */
    size_t head_len, line_len;
    char head[HEAD_ROOM], line[LINE_ROOM];
} call;

/* Values are nanoseconds; 32 buckets to the octave, so within 3 %. */
enum { FINE = 5, BUCKETS = 64 << FINE };
typedef struct {
    u64 count, most, sum, in[BUCKETS];
} spread;

typedef struct {
    u64 answers, ok, refused, too_many, client_error, server_error, retry_after;
    u64 events, bytes, slow_bytes, cut, no_connection, reconnects;
    u64 undone, wrong_count, wrong_event, expected;
} tally;

static tally counted;
static spread latency, first_byte, first_event, delay;

static int port, connections = 1, streaming, slow_count, poller;
static long warm_ms = 500, window_ms = 2000, ramp_ms, backoff_ms = 100, events_due = -1;
static double slow_rate = 1000;
static const char *path = "/v1/chat/completions", *expect, *in_event;
static char headers[4096];
static char *request, *slow_request;
static size_t request_len, slow_request_len;
static int pids[512], pid_count;
static call *calls;
static u64 now;
static char incoming[READ_SIZE];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static u64 read_clock(clockid_t which) {
    struct timespec t;
    if (clock_gettime(which, &t)) return 0;
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

/* ---- spreads ---- */

static void note(spread *s, u64 ns) {
    int at = (int)ns;
    if (ns >= 1u << FINE) {
        int octave = 63 - __builtin_clzll(ns);
        at = ((octave - FINE + 1) << FINE) + (int)((ns >> (octave - FINE)) & ((1 << FINE) - 1));
    }
    s->in[at]++;
    s->count++;
    s->sum += ns;
    if (ns > s->most) s->most = ns;
}

static double middle_us(int at) {
    if (at < 1 << FINE) return at / 1e3;
    int octave = (at >> FINE) + FINE - 1;
    double width = (double)(1ull << (octave - FINE));
    return ((double)(1ull << octave) + ((at & ((1 << FINE) - 1)) + 0.5) * width) / 1e3;
}

static double quantile_us(const spread *s, double q) {
    u64 below = 0;
    for (int i = 0; i < BUCKETS; i++) {
        below += s->in[i];
        if (s->in[i] && (double)below > q * (double)s->count) return middle_us(i);
    }
    return (double)s->most / 1e3;
}

static void print_spread(const char *name, const spread *s) {
    static const struct { const char *name; double q; } at[] = {
        {"p1", .01},  {"p10", .10}, {"p25", .25}, {"p50", .50},   {"p75", .75},
        {"p90", .90}, {"p95", .95}, {"p99", .99}, {"p999", .999}, {"p9999", .9999}};
    printf(", \"%s_us\": {\"count\": %llu", name, (unsigned long long)s->count);
    if (s->count) {
        for (size_t i = 0; i < sizeof at / sizeof *at; i++)
            printf(", \"%s\": %.1f", at[i].name, quantile_us(s, at[i].q));
        printf(", \"mean\": %.1f, \"max\": %.1f", (double)s->sum / (double)s->count / 1e3,
               (double)s->most / 1e3);
    }
    printf("}");
}

/* ---- the measured processes ---- */

static u64 cpu_ns(void) {
    u64 sum = 0;
    for (int i = 0; i < pid_count; i++) {
        clockid_t which;
        if (!clock_getcpuclockid(pids[i], &which)) sum += read_clock(which);
    }
    return sum;
}

/* User and system time in clock ticks: coarse, only to split the sum above. */
static void cpu_ticks(unsigned long *user, unsigned long *system) {
    *user = *system = 0;
    for (int i = 0; i < pid_count; i++) {
        char name[64], text[1024];
        snprintf(name, sizeof name, "/proc/%d/stat", pids[i]);
        FILE *f = fopen(name, "r");
        if (!f) continue;
        size_t n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
        text[n] = 0;
        unsigned long u = 0, s = 0;
        char *rest = strrchr(text, ')');
        if (rest && sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2)
            *user += u, *system += s;
    }
}

/* ---- asking ---- */

static void watch(call *c, int op, uint32_t what) {
    struct epoll_event e = {what, {.ptr = c}};
    epoll_ctl(poller, op, c->fd, &e);
}

static uint32_t interest(const call *c) { return c->slow ? 0 : EPOLLIN; }

static int send_rest(call *c) {
    const char *from = c->slow ? slow_request : request;
    size_t len = c->slow ? slow_request_len : request_len;
    while (c->unsent) {
        ssize_t taken = write(c->fd, from + len - c->unsent, c->unsent);
        if (taken < 0) {
            if (errno != EAGAIN && errno != ENOTCONN) return -1;
            watch(c, EPOLL_CTL_MOD, interest(c) | EPOLLOUT);
            return 0;
        }
        c->unsent -= (size_t)taken;
    }
    watch(c, EPOLL_CTL_MOD, interest(c));
    return 0;
}

static void ask(call *c) {
    c->part = HEAD;
    c->head_len = c->line_len = 0;
    c->begun = c->stamped = c->done = c->expected = c->retry_after = 0;
    c->unsent = c->slow ? slow_request_len : request_len;
    c->waiting = 1;
    c->asked_ns = read_clock(CLOCK_MONOTONIC);
    if (send_rest(c) < 0) shutdown(c->fd, SHUT_RDWR);  /* read() will tell */
}

static void rest(call *c, long ms) { c->resume_ns = now + (u64)ms * 1000000u; }

static void dial(call *c) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, small = 4096;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    /* So that a slow reader is felt by the gateway, not hidden by the kernel. */
    if (c->slow) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (void *)&to, sizeof to) && errno != EINPROGRESS) {
        counted.no_connection++;
        close(c->fd);
        c->fd = -1;
        rest(c, backoff_ms);
        return;
    }
    watch(c, EPOLL_CTL_ADD, interest(c));
    ask(c);
}

/* ---- reading ---- */

static int stamp_delay(const char *at, u64 *ns) {
    u64 then_us = 0;
    for (int i = 1; i <= 5; i++) {
        char d = at[i];
        int v = d >= 'A' && d <= 'Z'   ? d - 'A'
                : d >= 'a' && d <= 'z' ? d - 'a' + 26
                : d >= '0' && d <= '9' ? d - '0' + 52
                : d == '-'             ? 62
                : d == '_'             ? 63
                                       : -1;
        if (v < 0) return 0;
        then_us = then_us << 6 | (u64)v;
    }
    *ns = ((now / 1000 - then_us) & ((1u << 30) - 1)) * 1000;
    return 1;
}

static void on_line(call *c, const char *line, size_t len) {
    if (len < 6 || memcmp(line, "data:", 5)) return;
    const char *stamp = memchr(line, '~', len);
    u64 ns;
    if (stamp && line + len - stamp > 5 && stamp_delay(stamp, &ns)) {
        if (c->slow) return;
        if (!c->stamped++) note(&first_event, now - c->asked_ns);
        counted.events++;
        note(&delay, ns);
        if (in_event && !memmem(line, len, in_event, strlen(in_event))) counted.wrong_event++;
        return;
    }
    if (len < 16 && memmem(line, len, "[DONE]", 6)) c->done = 1;
    else if (expect && memmem(line, len, expect, strlen(expect))) c->expected = 1;
}

static void on_body(call *c, const char *bytes, size_t len) {
    if (!streaming) {
        if (expect && memmem(bytes, len, expect, strlen(expect))) c->expected = 1;
        return;
    }
    while (len) {
        const char *eol = memchr(bytes, '\n', len);
        size_t piece = eol ? (size_t)(eol - bytes) : len;
        if (eol && !c->line_len) {
            on_line(c, bytes, piece);
        } else {
            size_t room = LINE_ROOM - c->line_len, kept = piece < room ? piece : room;
            memcpy(c->line + c->line_len, bytes, kept);
            c->line_len += kept;
            if (eol) {
                on_line(c, c->line, c->line_len);
                c->line_len = 0;
            }
        }
        if (!eol) return;
        bytes += piece + 1;
        len -= piece + 1;
    }
}

static void on_answer(call *c) {
    c->waiting = 0;
    if (c->slow) return;
    counted.answers++;
    note(&latency, now - c->asked_ns);
    if (c->status == 429) counted.too_many++;
    else if (c->status == 503) counted.refused++;
    else if (c->status >= 500) counted.server_error++;
    else if (c->status >= 400) counted.client_error++;
    else counted.ok++;
    if (c->retry_after) counted.retry_after++;
    if (c->status != 200) return;
    if (c->expected) counted.expected++;
    if (!streaming) return;
    if (!c->done) counted.undone++;
    if (events_due >= 0 && c->stamped != events_due) counted.wrong_count++;
}

static int has_name(const char *line, const char *name) {
    return !strncasecmp(line, name, strlen(name));
}

/* Reads the head in c->head; 1 where no body follows. */
static int on_head(call *c) {
    size_t length = 0;
    c->status = atoi(c->head + 9);
    c->closing = 0;
    c->part = UNTIL_CLOSE;
    for (char *line = strstr(c->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (has_name(line, "transfer-encoding: chunked")) c->part = CHUNK_SIZE;
        if (has_name(line, "content-length:")) {
            length = strtoul(line + 15, NULL, 10);
            if (c->part != CHUNK_SIZE) c->part = BY_LENGTH;
        }
        if (has_name(line, "connection: close")) c->closing = 1;
        if (has_name(line, "retry-after:")) c->retry_after = 1;
    }
    c->left = length;
    c->head_len = 0;
    return c->part == BY_LENGTH && !length;
}

/* Takes up to `len` bytes of the current part; how many, and 1 in *whole. */
static size_t step(call *c, const char *bytes, size_t len, int *whole) {
    size_t n = len < c->left ? len : c->left, i = 0;
    *whole = 0;
    switch (c->part) {
    case HEAD:
        while (i < len && c->head_len < HEAD_ROOM - 1) {
            char b = c->head[c->head_len++] = bytes[i++];
            if (b == '\n' && c->head_len >= 4 && !memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4)) {
                c->head[c->head_len] = 0;
                *whole = on_head(c);
                return i;
            }
        }
        return i;
    case BY_LENGTH:
        on_body(c, bytes, n);
        c->left -= n;
        *whole = !c->left;
        return n;
    case CHUNK_SIZE:
        while (i < len && c->head_len < 64) {
            char b = c->head[c->head_len++] = bytes[i++];
            if (b != '\n') continue;
            c->head[c->head_len] = 0;
            c->left = strtoul(c->head, NULL, 16);
            c->part = c->left ? CHUNK : TRAILER;
            c->head_len = 0;
            break;
        }
        return i;
    case CHUNK:
        on_body(c, bytes, n);
        c->left -= n;
        if (!c->left) c->part = CHUNK_END, c->left = 2;
        return n;
    case CHUNK_END:
        c->left -= n;
        if (!c->left) c->part = CHUNK_SIZE;
        return n;
    case TRAILER:
        while (i < len) {
            if (bytes[i++] != '\n') c->head_len++;
            else if (c->head_len <= 1) return *whole = 1, i;
            else c->head_len = 0;
        }
        return i;
    case UNTIL_CLOSE:
        on_body(c, bytes, len);
        return len;
    }
    return len;
}

static void redial(call *c) {
    close(c->fd);
    counted.reconnects++;
    dial(c);
}

static void next_call(call *c) {
    if (c->closing) {
        close(c->fd);
        c->fd = -1;
    }
    if (c->status == 429 || c->status >= 500) rest(c, backoff_ms);
    else if (c->fd < 0) dial(c);
    else ask(c);
}

static void on_closed(call *c) {
    if (c->part == UNTIL_CLOSE && c->waiting) on_answer(c);
    else if (c->waiting && !c->slow) counted.cut++;
    if (c->waiting && c->part == HEAD && c->head_len == 0) {  /* never answered: no hammering */
        close(c->fd);
        c->fd = -1;
        rest(c, backoff_ms);
    } else redial(c);
}

static void on_readable(call *c, size_t most) {
    ssize_t got = read(c->fd, incoming, most < READ_SIZE ? most : READ_SIZE);
    now = read_clock(CLOCK_MONOTONIC);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        on_closed(c);
        return;
    }
    if (c->slow) counted.slow_bytes += (u64)got, c->credit -= (double)got;
    else counted.bytes += (u64)got;
    if (!c->begun++ && !c->slow) note(&first_byte, now - c->asked_ns);
    const char *bytes = incoming;
    size_t len = (size_t)got;
    while (len) {
        int whole;
        size_t taken = step(c, bytes, len, &whole);
        bytes += taken;
        len -= taken;
        if (whole) {
            on_answer(c);
            next_call(c);
            return;
        }
        if (!taken) {           /* a head or a size too long to be one */
            on_closed(c);
            return;
        }
    }
}

/* What no socket wakes us for: slow readers, rests that have ended. */
static void tick(int dialled) {
    for (int i = 0; i < dialled; i++) {
        call *c = &calls[i];
        if (c->resume_ns && now >= c->resume_ns) {
            c->resume_ns = 0;
            if (c->fd < 0) dial(c);
            else ask(c);
        } else if (c->slow && c->fd >= 0) {
            c->credit += slow_rate * TICK_MS / 1000;
            if (c->credit >= 64) on_readable(c, (size_t)c->credit);
        }
    }
}

/* ---- the run ---- */

static int dial_due(int dialled, u64 since_ns) {
    int due = connections;
    if (ramp_ms) due = (int)((double)connections * (double)since_ns / 1e6 / (double)ramp_ms) + 1;
    while (dialled < due && dialled < connections) {
        calls[dialled].slow = dialled < slow_count;
        dial(&calls[dialled++]);
    }
    return dialled;
}

static void open_window(void) {
    memset(&counted, 0, sizeof counted);
    memset(&latency, 0, sizeof latency);
    memset(&first_byte, 0, sizeof first_byte);
    memset(&first_event, 0, sizeof first_event);
    memset(&delay, 0, sizeof delay);
}

static void report(u64 opened_at, u64 wall_ns, u64 cpu, unsigned long user, unsigned long system) {
    double wall_s = (double)wall_ns / 1e9;
#define N(field) (unsigned long long)counted.field
    printf("{\"connections\": %d, \"slow\": %d, \"wall_s\": %.6f, \"opened_at\": %.6f, "
           "\"answers\": %llu, \"ok\": %llu, \"events\": %llu, \"bytes\": %llu, \"slow_bytes\": %llu, "
           "\"answers_per_s\": %.2f, \"events_per_s\": %.2f",
           connections, slow_count, wall_s, (double)opened_at / 1e9, N(answers), N(ok), N(events),
           N(bytes), N(slow_bytes), (double)counted.answers / wall_s, (double)counted.events / wall_s);
    printf(", \"errors\": {\"refused_503\": %llu, \"too_many_429\": %llu, \"client_4xx\": %llu, "
           "\"server_5xx\": %llu, \"cut\": %llu, \"no_connection\": %llu, \"without_done\": %llu, "
           "\"wrong_count\": %llu, \"wrong_event\": %llu}",
           N(refused), N(too_many), N(client_error), N(server_error), N(cut), N(no_connection),
           N(undone), N(wrong_count), N(wrong_event));
    printf(", \"retry_after\": %llu, \"expected\": %llu, \"reconnects\": %llu", N(retry_after),
           N(expected), N(reconnects));
    printf(", \"cpu_s\": %.6f, \"user_ticks\": %lu, \"system_ticks\": %lu", (double)cpu / 1e9, user,
           system);
    print_spread("latency", &latency);
    print_spread("first_byte", &first_byte);
    print_spread("first_event", &first_event);
    print_spread("delay", &delay);
    printf("}\n");
}

static void run(void) {
    static struct epoll_event ready[512];
    u64 start = read_clock(CLOCK_MONOTONIC), cpu = 0, opened_at = 0, ticked = start;
    u64 open = start + (u64)warm_ms * 1000000u, close_at = open + (u64)window_ms * 1000000u;
    unsigned long user = 0, system = 0, user_end, system_end;
    int dialled = 0, counting = 0;
    for (now = start; now < close_at; now = read_clock(CLOCK_MONOTONIC)) {
        dialled = dial_due(dialled, now - start);
        if (!counting && now >= open) {
            counting = 1;
            open_window();
            opened_at = read_clock(CLOCK_REALTIME);
            open = now;
            cpu_ticks(&user, &system);
            cpu = cpu_ns();
        }
        if (now - ticked >= TICK_MS * 1000000u) {
            ticked = now;
            tick(dialled);
        }
        int n = epoll_wait(poller, ready, 512, dialled < connections ? 1 : TICK_MS);
        for (int i = 0; i < n; i++) {
            call *c = ready[i].data.ptr;
            if (c->fd < 0) continue;
            if (ready[i].events & EPOLLOUT && send_rest(c) < 0) shutdown(c->fd, SHUT_RDWR);
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c, READ_SIZE);
        }
    }
    cpu = cpu_ns() - cpu;
    cpu_ticks(&user_end, &system_end);
    report(opened_at, now - open, cpu, user_end - user, system_end - system);
}

static char *read_file(const char *name, size_t *len) {
    FILE *f = fopen(name, "rb");
    if (!f) die(name);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    char *text = malloc(*len + 1);
    if (!text || fread(text, 1, *len, f) != *len) die(name);
    fclose(f);
    return text;
}

static char *make_request(const char *file, size_t *len) {
    size_t body_len;
    char *body = read_file(file, &body_len), *all;
    int head_len = asprintf(
        &all,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
        "Accept-Encoding: gzip, deflate\r\nContent-Type: application/json\r\n%s"
        "User-Agent: OpenAI/Python 2.0.0\r\nX-Stainless-Arch: x64\r\nX-Stainless-Lang: python\r\n"
        "X-Stainless-OS: Linux\r\nX-Stainless-Package-Version: 2.0.0\r\n"
        "X-Stainless-Retry-Count: 0\r\nX-Stainless-Runtime: CPython\r\nContent-Length: %zu\r\n\r\n",
        path, port, headers, body_len);
    if (head_len < 0) die("request");
    *len = (size_t)head_len + body_len;
    all = realloc(all, *len);
    memcpy(all + head_len, body, body_len);
    free(body);
    return all;
}

static void read_pids(char *list) {
    for (char *p = strtok(list, ","); p && pid_count < 512; p = strtok(NULL, ","))
        pids[pid_count++] = atoi(p);
}

int main(int argc, char **argv) {
    const char *body = NULL, *slow_body = NULL;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--stream")) {
            streaming = 1;
            continue;
        }
        char *value = i + 1 < argc ? argv[++i] : NULL;
        if (!value) return fprintf(stderr, "%s: a value is missing\n", name), 2;
#define IS(option) !strcmp(name, option)
        if (IS("--port")) port = atoi(value);
        else if (IS("--body")) body = value;
        else if (IS("--connections")) connections = atoi(value);
        else if (IS("--warm-ms")) warm_ms = atol(value);
        else if (IS("--window-ms")) window_ms = atol(value);
        else if (IS("--ramp-ms")) ramp_ms = atol(value);
        else if (IS("--backoff-ms")) backoff_ms = atol(value);
        else if (IS("--path")) path = value;
        else if (IS("--events")) events_due = atol(value);
        else if (IS("--expect")) expect = value;
        else if (IS("--in-event")) in_event = value;
        else if (IS("--slow")) slow_count = atoi(value);
        else if (IS("--slow-rate")) slow_rate = atof(value);
        else if (IS("--slow-body")) slow_body = value;
        else if (IS("--pids")) read_pids(value);
        else if (IS("--header")) {
            if (strlen(headers) + strlen(value) + 3 > sizeof headers) return 2;
            strcat(strcat(headers, value), "\r\n");
        } else return fprintf(stderr, "%s: no such option\n", name), 2;
    }
    if (!port || !body) return fprintf(stderr, "--port and --body are needed\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    request = make_request(body, &request_len);
    slow_request = make_request(slow_body ? slow_body : body, &slow_request_len);
    calls = calloc((size_t)connections, sizeof *calls);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!calls || poller < 0) die("start");
    for (int i = 0; i < connections; i++) calls[i].fd = -1;
    run();
    return 0;
}
