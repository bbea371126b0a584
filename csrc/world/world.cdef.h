/* The world's interface: what C callers include through world.h and what Python reads through cffi. One file, so that
 * nothing is written twice; therefore only declarations stand here. bus.cdef.h and plant.cdef.h come before it. */

struct world;

enum world_error {
    WORLD_OK = 0,
    WORLD_ATTENTION = 1,    /* the participant asked to stop after this tick */
    WORLD_LOG_FULL = 2,     /* take the hash log or the samples before the next tick */
    WORLD_ERR_STATE = -1,   /* not possible in this state of the world or of the board */
    WORLD_ERR_BOARD = -2,   /* no such board */
    WORLD_ERR_WAITING = -3, /* a present board has not answered yet */
    WORLD_ERR_ORBIT = -4,   /* the orbit table ends before this tick does: extend it and go on */
};

enum { WORLD_NVM_BYTES = 4096 }; /* BOARD_NVM_BYTES */

struct world_config {
    uint32_t nodes, strings;
    uint32_t dt_us;
    uint32_t sample_period_us; /* of the truth's time series; 0: none */
    double undervoltage_v;     /* bus below: violation */
    double soc_floor;          /* state of charge below: violation */
    double over_temperature_c, hbm_over_temperature_c;
    double discharge_w_allowed;  /* what leases may count on from the battery, above soc_floor */
    double converter_efficiency; /* of the array regulator */
};

struct world *world_create(const struct world_config *c, struct plant *plant); /* NULL: no memory, or nodes > 1024 */
void world_destroy(struct world *w);                                           /* the plant stays the caller's */

/* ---------------------------------------------------------------- boards join and leave, between ticks */
enum world_board_state { WORLD_BOARD_ABSENT = 0, WORLD_BOARD_JOINING = 1, WORLD_BOARD_PRESENT = 2 };

/* Begin to join: an external board (its line is open), or a mock that boots now. World keeps the mock's NVM. */
int world_join_external(struct world *w, uint32_t board);
int world_join_mock(struct world *w, uint32_t board, const uint8_t *hardware_id, uint8_t reset_cause);
/* 1 when the board has said HELLO since it began to join, else 0, or an error; *hello is the last (kind 0: one that
 * could not be decoded). It is judged by whoever runs the world (hal/identity.py), which admits the board or lets it go.
 */
int world_hello(const struct world *w, uint32_t board, struct bus_hello *hello);
int world_next_hello(struct world *w); /* an external board whose HELLO is new since it was given here, or -1 */
int world_admit(struct world *w, uint32_t board);  /* after its HELLO: present from the next tick on */
int world_absent(struct world *w, uint32_t board); /* its line ended or its guard ran out; also while a tick is open */
/* First bytes of a HELLO_REQ from the bench, for a board that does not speak first. */
size_t world_hello_request(struct world *w, uint32_t board, uint8_t *out /* BUS_MAX_WIRE */);

/* ---------------------------------------------------------------- ticks */
/* Whole ticks, while every present board is a mock. Returns WORLD_OK, _ATTENTION, _LOG_FULL, _ERR_ORBIT or _ERR_STATE.
 */
int world_run(struct world *w, uint32_t max_ticks, bus_participant step, void *ctx, uint32_t *ticks_done);

/* The same in parts, for external boards. begin: WORLD_OK or WORLD_LOG_FULL; then for each external board send what
 * world_external_tx gives, feed what comes until nobody is waited for, then end. */
int world_tick_begin(struct world *w);
size_t world_external_tx(struct world *w, uint32_t board, const uint8_t **bytes);
/* Bytes from a board. Returns the state of its line, enum world_rx bits, or WORLD_ERR_BOARD. */
int world_external_rx(struct world *w, uint32_t board, const uint8_t *bytes, size_t n);
enum world_rx {
    WORLD_RX_WAITING = 1, /* not answered yet */
    WORLD_RX_DAMAGED = 2, /* perhaps the answer arrived damaged: ask again at once */
    WORLD_RX_BOOTING = 4, /* answered, and resets: its boot's HELLO is waited for */
    WORLD_RX_TO_SEND = 8, /* world_external_tx has bytes: the TICK again, for a board that has just booted */
};
/* For a board that is late: bytes to send, its TICK again, or a HELLO_REQ while it boots (DONE told of a reset, and
 * nothing that is sent before the boot's HELLO arrives there). */
int world_ask_again(struct world *w, uint32_t board, const uint8_t **bytes);
uint32_t world_waiting(const struct world *w); /* external boards that have not answered */
int world_is_waiting(const struct world *w, uint32_t board);
int world_tick_end(struct world *w, bus_participant step, void *ctx);

/* world_tick_end in two halves, for a participant that is not a C function: what boards sent it, then its answer. */
int world_tick_collect(struct world *w, const struct bus_batch **rx);
struct bus_batch *world_answer(struct world *w); /* cleared by collect */
int world_tick_commit(struct world *w);

int world_in_tick(const struct world *w); /* 1 between begin and commit */
uint64_t world_t_us(const struct world *w);
uint64_t world_tick(const struct world *w);
int world_call(uintptr_t step, uintptr_t ctx, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx);

/* ---------------------------------------------------------------- what the world knows */
/* The bus hash is SHA-256 over these records: tick u64, board u16, direction u8 (0 to the board), length u16 (all
 * little-endian), then one frame (or damaged bytes) as on the wire. No HELLO, no HELLO_REQ, no repeated frame. */
size_t world_take_log(struct world *w, const uint8_t **bytes); /* valid until the next tick */

struct world_link {
    uint64_t tx_frames, tx_bytes, rx_frames, rx_bytes; /* since creation, seen from the bench */
    uint64_t absent_since_tick;                        /* tick at which the board went ABSENT last */
    uint32_t epochs;                                   /* boots seen */
    uint32_t crashes;                                  /* CRASH frames */
    uint32_t absences, retransmissions;
    /* The account (docs/board-bus.md): what one end sent and the other did not receive, per epoch, as of the last
     * comparison; what the board has not answered yet is in doubt. */
    uint32_t comparisons; /* link_reports that the account was compared with */
    uint32_t in_doubt_bytes, in_doubt_frames;
    uint32_t lost_at_reset_bytes, lost_at_reset_frames;   /* sent to a board that reset and never answered it */
    uint32_t lost_to_board_bytes, lost_to_board_frames;   /* at an outage; frames also by damage */
    uint32_t lost_from_board_bytes, lost_from_board_frames;
    uint32_t noise_to_board_bytes, noise_from_board_bytes; /* more than was sent, with damage or an outage */
    uint32_t unexplained_bytes, unexplained_frames;        /* none of these */
    uint32_t hw_lost_bytes;                                /* the board's hardware_report: ring full, overruns */
    uint32_t hw_line_errors;                               /* and its framing and noise errors */
    uint32_t damaged_received;                             /* runs from the board that failed a check here */
    uint32_t damaged_at_board;                             /* its own count of the same */
    uint32_t gaps_received, gaps_at_board;                 /* sequence */
    uint32_t unknown_at_board;
    uint32_t stray_done;    /* DONE that answers no open TICK, and is none that was asked for twice */
    uint32_t undelivered_bytes; /* flight's, for a board that was not there */
    uint32_t dropped_bytes; /* buffers of the world too small: never in a sane rig */
    uint32_t state_hash;    /* of the last DONE */
    uint8_t state;          /* enum world_board_state */
};
int world_link(const struct world *w, uint32_t board, struct world_link *out);

struct world_score {
    uint64_t ticks;
    uint32_t undervoltage, overtemperature, lease_sum, soc_floor; /* episodes */
    double lease_over_ws;                                         /* integral of the lease sum's excess */
    double lease_sum_w, guarantee_w;                              /* now */
    double soc_min;
    uint32_t dropped_records;    /* of the two batches, too small for a tick: never in a sane rig */
    uint64_t dropped_hash_bytes; /* that the bus hash has missed: its log was too small for a tick, as above */
};
void world_score(const struct world *w, struct world_score *out);

/* One row of the truth's time series. */
struct world_sample {
    double t_s, available_w, used_w, nodes_w, hotel_w, soc, bus_v, batt_w, batt_c, array_c, die_max_c, hbm_max_c,
        coolant_max_c, radiator_c, sunlight, work, lease_sum_w, guaranteed_w, nodes_up, nodes_booting;
};
size_t world_take_samples(struct world *w, const struct world_sample **rows); /* valid until the next tick */

uint64_t world_icd_hash(void);
void world_firmware_hash(uint8_t *out);

/* ---------------------------------------------------------------- one board in this process, outside any world */
struct mock;
struct mock *mock_create(uint8_t kind, uint16_t address, const uint8_t *hardware_id); /* NULL: no memory, or no kind */
void mock_destroy(struct mock *m);
void mock_boot(struct mock *m, uint8_t reset_cause);
/* Bytes to the board. A reset that they lead to is carried out at the end: the new HELLO is behind DONE. */
void mock_receive(struct mock *m, const uint8_t *bytes, size_t n);
/* What it has sent; valid until the next call on this mock. Returns the number of bytes. */
size_t mock_take(struct mock *m, const uint8_t **bytes);
uint8_t *mock_nvm(struct mock *m); /* WORLD_NVM_BYTES */
/* Its whole state, persistent memory included, to come back to later: mock_state_bytes of the caller's. */
size_t mock_state_bytes(const struct mock *m);
void mock_save(const struct mock *m, uint8_t *out);
void mock_load(struct mock *m, const uint8_t *saved);
/* Power fails once, at the byte of persistent memory that would be written after so many others; it boots with cause
 * brown_out. mock_cuts: how often that was so since it was created. */
void mock_cut_nvm(struct mock *m, uint32_t bytes);
void mock_lift_cut(struct mock *m);
uint32_t mock_cuts(const struct mock *m);
/* Flips so many random bits of its live state: of numbers alone, not of addresses, counts and indices, with which this
 * process itself would be lost. */
void mock_flip(struct mock *m, uint32_t bits, uint64_t seed);

/* ---------------------------------------------------------------- faults on flight's frames of one board's line
 * The caller owns a fault and what it points to, from world_link_fault until the world is destroyed or until
 * world_lift_link_fault has returned 0. Faults of one line act in the order in which they were put there. */
enum link_fault_kind {
    LINK_FAULT_DROP = 1,      /* a frame is lost */
    LINK_FAULT_DUPLICATE = 2, /* a frame comes twice */
    LINK_FAULT_DELAY = 3,     /* every frame comes delay_us later, in its order */
    LINK_FAULT_FLIP = 4,      /* one bit of a byte is flipped; the rate is that of bytes */
    LINK_FAULT_TRUNCATE = 5,  /* a frame ends early: of its n bytes the first 1 to n - 1 come */
    LINK_FAULT_INSERT = 6,    /* `bytes` random bytes come before a frame */
    LINK_FAULT_STALL = 7,     /* nothing comes; when it is lifted all that was held comes at once */
    LINK_FAULT_DISCONNECT = 8 /* nothing comes, all is lost */
};
enum link_direction { LINK_TO_BOARD = 0, LINK_FROM_BOARD = 1 };

struct link_fault_way { /* one direction */
    uint8_t on;
    uint64_t random;                  /* state of its own chance; seeded by the caller */
    uint64_t random_beside;           /* the same for frames that only hardware sends, which are not counted below */
    uint64_t frames, hits;            /* that passed, and that it acted on */
    uint64_t bytes_lost, bytes_added;
    uint8_t *hold;                    /* delay and stall: what waits, records of due_us u64, n u16, n bytes */
    size_t held, capacity;            /* a frame that finds no room is lost */
};
struct link_fault {
    struct link_fault *next; /* of the same line */
    struct link_fault_way way[2];
    uint64_t rate; /* chance that it acts, in 2^-32 */
    uint64_t delay_us;
    uint32_t bytes;
    uint8_t kind;
    uint8_t lifted; /* only what is held still has to come */
};
int world_link_fault(struct world *w, uint32_t board, struct link_fault *f);
int world_lift_link_fault(struct world *w, uint32_t board, struct link_fault *f); /* 1: bytes are held yet */
/* Passes the n bytes of one tick through a list of faults, in place; `bytes` and `scratch` hold `capacity` each, and
 * what does not fit is lost. Returns the bytes that come. A lifted fault that holds nothing leaves the list. */
size_t link_fault_pass(struct link_fault **list, int direction, uint64_t t_us, uint8_t *bytes, size_t n,
                       size_t capacity, uint8_t *scratch);

/* ---------------------------------------------------------------- faults on one sensor of one board
 * They act on an integer of the TICK frames, in the unit of its ICD field, and stay within [low, high]. */
enum sensor_fault_kind {
    SENSOR_FAULT_OFF = 1,          /* reads 0 */
    SENSOR_FAULT_STUCK = 2,        /* reads what it read first */
    SENSOR_FAULT_GARBAGE = 3,      /* anything within [low, high] */
    SENSOR_FAULT_FIXED = 4,        /* reads `value` */
    SENSOR_FAULT_NEGATED = 5,      /* the sign is wrong */
    SENSOR_FAULT_SLOW = 6,         /* is read anew every period_us only */
    SENSOR_FAULT_DELAYED = 7,      /* reads what was so period_us ago; until then what it read first */
    SENSOR_FAULT_INTERMITTENT = 8, /* reads 0 by chance */
    SENSOR_FAULT_BIAS = 9,         /* `value` is added */
    SENSOR_FAULT_SCALE = 10,       /* times `value`, rounded to nearest, halves away from 0 */
    SENSOR_FAULT_NOISE = 11        /* near-normal noise of standard deviation `value`: twelve uniform draws */
};

struct sensor_sample {
    uint64_t t_us;
    int64_t reading;
};
struct sensor_fault {
    struct sensor_fault *next; /* of the same board */
    /* where the integer stands: a field of a message, or of entry `index` of a message with pages (stride not 0),
     * which begin with base u16 and count u8 */
    uint8_t message, width, is_signed, kind;
    uint16_t offset, stride, index;
    int64_t low, high;
    double value;
    uint64_t rate; /* chance, in 2^-32 */
    uint64_t period_us, random;
    /* state */
    uint8_t started;
    int64_t kept;
    uint64_t kept_us;
    uint64_t readings, hits;       /* that passed, and that were not what they should have been */
    struct sensor_sample *history; /* delayed: a ring, the caller's */
    uint32_t oldest, count, capacity;
};
int world_sensor_fault(struct world *w, uint32_t board, struct sensor_fault *f);
int world_lift_sensor_fault(struct world *w, uint32_t board, struct sensor_fault *f);
/* Passes the payload of one message through a list of faults, in place. */
void sensor_fault_pass(struct sensor_fault *list, uint8_t message, uint64_t t_us, uint8_t *payload, size_t n);

/* ---------------------------------------------------------------- faults of a board, between ticks */
/* The controller stands still: it gets no TICK and no byte, what its outputs hold stays. When it goes on, TICK comes
 * behind a HELLO_REQ, which says to it that time has passed. */
int world_hang(struct world *w, uint32_t board, int on);
/* The controller alone is about to boot: as world_absent, but its outputs stay and it does not count as an absence. */
int world_reboot(struct world *w, uint32_t board);
struct mock *world_mock(struct world *w, uint32_t board); /* NULL: the board is no mock in this process */

/* ---------------------------------------------------------------- recording */
struct tape;

/* Records of a tape: u8 kind, u32 n (little-endian, as all below), n bytes. Kinds from TAPE_NOTE on are of whoever keeps
 * the tape. */
enum tape_kind {
    TAPE_TICK = 1,       /* u64 t_us: the world begins a tick; what follows is of this tick */
    TAPE_TO_BOARD = 2,   /* u16 board, bytes that the board was sent: flight's and the bench's */
    TAPE_FROM_BOARD = 3, /* u16 board, bytes that it sent */
    TAPE_BOOT = 4,       /* u16 board, u8 reset cause, WORLD_NVM_BYTES or none: the world switches a board on */
    TAPE_ABSENT = 5,     /* u16 board: switched off, or its line ended */
    TAPE_STEP = 6,       /* u64 t_us, u32 n, n bytes of records to flight (csrc/bus/batch.h), then those from flight */
    TAPE_CUT = 7,        /* u16 board, u32 bytes: mock_cut_nvm is armed so when the next TAPE_TO_BOARD or _BOOT comes */
    TAPE_UPSET = 8,      /* u16 board, u32 bits, u64 seed of mock_flip; 0 bits: done inside another back end */
    TAPE_NOTE = 16,
};

struct tape *tape_create(size_t take_bytes); /* NULL: no memory. take_bytes: when tape_is_full says so */
void tape_destroy(struct tape *t);
void tape_note(struct tape *t, uint8_t kind, const uint8_t *bytes, size_t n);
void tape_boot(struct tape *t, uint16_t board, uint8_t cause, const uint8_t *nvm /* or NULL */);
int tape_is_full(const struct tape *t);
int tape_failed(const struct tape *t); /* no memory: what came after is not on it */
size_t tape_used(const struct tape *t);
size_t tape_take(struct tape *t, const uint8_t **bytes); /* the records so far; valid until the next tape_take */

/* Place of the first record from `at` on whose kind's bit is in `kinds`; n when there is none. */
size_t tape_find(const uint8_t *records, size_t n, size_t at, uint64_t kinds);

/* The world keeps its lines on the tape from now on (NULL: no more). World_run returns WORLD_LOG_FULL when it is full. */
void world_set_tape(struct world *w, struct tape *tape);

/* A bus_participant that steps another one and keeps what passed. */
struct tap {
    struct tape *tape;
    bus_participant step;
    void *ctx;
};
int tap_step(void *tap, uint64_t t_us, const struct bus_batch *rx, struct bus_batch *tx);

struct pack;
size_t pack_bytes(void);
void pack_reset(struct pack *p);
size_t pack_bound(size_t n); /* bytes that n packed bytes never exceed */
size_t pack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity); /* 0: not records */
int unpack_records(struct pack *p, const uint8_t *in, size_t n, uint8_t *out, size_t capacity); /* -1: not `capacity` */
