// Which jobs run, what each adds to the cache in the next step, and who gives way where pages run out.
//
// In order of rank (Rank): each running job that draws gets its one token; the others share the step's budget of tokens
// evenly, what is left over going to the first. A job that gets no pages takes those of resident sequences that nothing
// runs on, then those of the jobs below it, from the last one up, which wait again with all their tokens; a job with
// none below it waits itself. The first job always has room, since the cache holds one sequence of the longest length.
#pragma once
#include "engine/job.h"
#include "engine/runner.h"

namespace alia {

struct Planned {
    Job* job;
    Work work;
    bool ends;    // all its tokens are then processed: its last row gives the next one
    bool copies;  // rows of logits or hidden states are told, or chosen from
};

class Scheduler {
  public:
    struct Limits {
        int sequences, chunk, logit_rows;
        int64_t context;
    };
    Scheduler(const Limits&, const Model&, Cache&);

    // Gives up the pages of the resident sequence that no running request has and that has been unused for longest.
    // False where none has any.
    std::function<bool()> drop_resident;
    // A job could not begin; it is in neither set any more.
    std::function<void(Jobs::node_type, const Error&)> failed;

    Jobs waiting;
    std::vector<Jobs::node_type> running;    // in order of rank
    std::vector<Planned> generated, prompt;  // the next step's two passes
    int64_t preemptions = 0, cached_tokens = 0, begun = 0;

    // Moves waiting jobs to the running ones. `changed`: jobs have come or ended since the last time.
    void admit(bool changed);
    // Fills the two passes; every sequence in them has its pages.
    void plan();
    // Takes a job from where it is.
    Jobs::node_type extract(Job&);

  private:
    Jobs::iterator next_waiting();
    void run(Jobs::node_type);
    bool begin(Job&);
    void preempt_last();
    bool take_pages(size_t place, int64_t count);
    bool make_room(const Job&);
    int even_share();
    Planned planned(Job&, int64_t first, int count) const;

    const Limits limits;
    const Model& model;
    Cache& cache;
    std::vector<const Job*> sharing;  // of one step: those that share its budget
    int32_t refused = -1;             // pages that were to be had when a job was last refused for want of more
};

}  // namespace alia
