# a job
