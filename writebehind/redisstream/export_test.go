package redisstream

// SetUnfenced removes the check of the token from commits of j.
func SetUnfenced(j *Journal, on bool) { j.unfenced = on }
